"""The store in an S3 bucket, of any maker.

Nothing is asked of the server that only some can do: no conditional writes, no object metadata.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from fractureai.domain.ports import StoredObject
from fractureai.errors import TransientFailure
from fractureai.storage.paths import check_key, check_prefix

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_COPY_BYTES = 1 << 20
# The least any S3 server takes for a part that is not the last.
_LEAST_PART_BYTES = 5 << 20
_NO_KEY = frozenset({"NoSuchKey", "NotFound", "404"})
_FULL = frozenset({"InsufficientStorage", "507", "QuotaExceeded", "XMinioStorageFull"})


@dataclass(frozen=True, slots=True)
class S3Settings:
    """Which bucket, and how to reach it.

    Attributes
    ----------
    endpoint:
        URL of the server; ``None`` for AWS.
    access_key, secret_key:
        ``None`` for the places AWS's own tools look in.
    encryption:
        Server-side encryption to ask for: ``AES256``, ``aws:kms``; ``None`` leaves it to the bucket.
    part_bytes:
        What a stream holds in memory, and the size of the parts of a large object.
    """

    bucket: str
    endpoint: str | None = None
    region: str = "us-east-1"
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    encryption: str | None = None
    part_bytes: int = 8 << 20

    def __post_init__(self) -> None:
        if self.part_bytes < _LEAST_PART_BYTES:
            raise ValueError(f"a part has at least {_LEAST_PART_BYTES} bytes, got {self.part_bytes}")


# Three tries of at most 3 + 20 s each: a stage hears of a dead server well within its lease.
_CONNECT_S = 3
_READ_S = 20
_TRIES = 3
_CONNECTIONS = 16


class S3Store:
    """Objects in a bucket. Safe between threads; a forked child makes connections of its own.

    Parameters
    ----------
    settings:
        The bucket; it must be there already.
    scratch:
        Where :meth:`as_file` keeps its copies while they are used; by default the system's temporary folder.
    """

    def __init__(self, settings: S3Settings, *, scratch: Path | None = None) -> None:
        self._bucket = _Bucket(settings)
        self._scratch = scratch

    def sink(self, key: str) -> S3Sink:
        """Begin a streamed write."""
        return S3Sink(self._bucket, check_key(key))

    def put(self, key: str, data: bytes) -> StoredObject:
        """Write a small object whole."""
        sink = self.sink(key)
        try:
            sink.write(data)
            return sink.commit()
        finally:
            sink.abort()

    def get(self, key: str) -> bytes:
        """Read a small object whole. Raises ``KeyError`` if there is none."""
        with _translated(check_key(key)):
            answer = self._bucket.client.get_object(Bucket=self._bucket.name, Key=key)
            with answer["Body"] as body:
                data: bytes = body.read()
                return data

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """Read as a stream. Raises ``KeyError`` if there is none."""
        with _translated(check_key(key)):
            answer = self._bucket.client.get_object(Bucket=self._bucket.name, Key=key)
        with io.BufferedReader(_Body(answer["Body"]), _COPY_BYTES) as stream:
            yield stream

    def size_bytes(self, key: str) -> int | None:
        """The object's size; ``None`` if there is none."""
        try:
            with _translated(check_key(key)):
                size: int = self._bucket.client.head_object(Bucket=self._bucket.name, Key=key)["ContentLength"]
                return size
        except KeyError:
            # HEAD has no body to tell a missing bucket from a missing key.
            self._bucket.check()
            return None

    @contextmanager
    def as_file(self, key: str) -> Iterator[Path]:
        """A copy for another process, removed with the context. Raises ``KeyError`` if there is none."""
        with tempfile.TemporaryDirectory(prefix="fractureai-", dir=self._scratch) as folder:
            path = Path(folder) / "object"
            with self.open(key) as stream, path.open("wb") as file:
                while chunk := stream.read(_COPY_BYTES):
                    file.write(chunk)
            yield path

    def copy(self, source: str, target: str) -> None:
        """The same bytes under another key, copied by the server. Raises ``KeyError`` if there is no ``source``."""
        with _translated(check_key(source)):
            self._bucket.client.copy_object(
                Bucket=self._bucket.name,
                Key=check_key(target),
                CopySource={"Bucket": self._bucket.name, "Key": source},
                **self._bucket.encryption,
            )

    def delete(self, key: str) -> None:
        """Remove it; nothing happens if there is none."""
        with suppress(KeyError), _translated(check_key(key)):
            self._bucket.client.delete_object(Bucket=self._bucket.name, Key=key)

    def keys(self, prefix: str) -> Iterator[str]:
        """All keys that start with ``prefix``, in no order. For repair only, never on the way of the work."""
        pages = self._bucket.client.get_paginator("list_objects_v2")
        with _translated(prefix):
            for page in pages.paginate(Bucket=self._bucket.name, Prefix=check_prefix(prefix)):
                yield from (entry["Key"] for entry in page.get("Contents", ()))


class S3Sink:
    """A write in progress: one PUT if it stays small, a multipart upload if not. Holds one part in memory.

    Every request carries Content-MD5: all servers check that one, while some take a wrong SHA-256 checksum.
    """

    def __init__(self, bucket: _Bucket, key: str) -> None:
        self._bucket = bucket
        self._key = key
        self._hash = hashlib.sha256()
        self._size_bytes = 0
        self._buffer = bytearray()
        self._upload_id: str | None = None
        self._parts: list[dict[str, object]] = []
        self._open = True

    def write(self, chunk: bytes, /) -> int:
        """Append; returns ``len(chunk)``."""
        self._check_open()
        rest = memoryview(chunk)
        while rest:
            room = self._bucket.part_bytes - len(self._buffer)
            if not room:
                self._send_part()
                continue
            self._buffer += rest[:room]
            rest = rest[room:]
        self._hash.update(chunk)
        self._size_bytes += len(chunk)
        return len(chunk)

    def commit(self) -> StoredObject:
        """Make the object visible, whole."""
        self._check_open()
        try:
            if self._upload_id is None:
                self._send_whole()
            else:
                self._send_part()
                self._complete()
        except BaseException:
            self.abort()
            raise
        self._open = False
        return StoredObject(self._key, self._size_bytes, self._hash.hexdigest())

    def abort(self) -> None:
        """Forget it; safe to call at any time."""
        if not self._open:
            return
        self._open = False
        self._buffer = bytearray()
        if self._upload_id is None:
            return
        # Best effort: parts left behind are invisible, and the bucket's own rule for them clears them away.
        with suppress(TransientFailure), _translated():
            self._bucket.client.abort_multipart_upload(**self._upload())

    def _check_open(self) -> None:
        if not self._open:
            raise ValueError(f"the write of {self._key} has ended")

    def _send_whole(self) -> None:
        with _translated():
            self._bucket.client.put_object(
                Bucket=self._bucket.name,
                Key=self._key,
                Body=self._buffer,
                ContentMD5=_md5(self._buffer),
                **self._bucket.encryption,
            )

    def _send_part(self) -> None:
        with _translated():
            if self._upload_id is None:
                begun = self._bucket.client.create_multipart_upload(
                    Bucket=self._bucket.name, Key=self._key, **self._bucket.encryption
                )
                self._upload_id = begun["UploadId"]
            number = len(self._parts) + 1
            sent = self._bucket.client.upload_part(
                **self._upload(), PartNumber=number, Body=self._buffer, ContentMD5=_md5(self._buffer)
            )
        self._parts.append({"ETag": sent["ETag"], "PartNumber": number})
        self._buffer = bytearray()

    def _complete(self) -> None:
        with _translated():
            self._bucket.client.complete_multipart_upload(**self._upload(), MultipartUpload={"Parts": self._parts})

    def _upload(self) -> dict[str, Any]:
        return {"Bucket": self._bucket.name, "Key": self._key, "UploadId": self._upload_id}


class _Bucket:
    """A bucket and this process's client for it. Sockets must not cross a fork, so the client is made anew there."""

    def __init__(self, settings: S3Settings) -> None:
        self.name = settings.bucket
        self.part_bytes = settings.part_bytes
        self.encryption = {"ServerSideEncryption": settings.encryption} if settings.encryption else {}
        self._settings = settings
        self._lock = threading.Lock()
        self._client: Any = None
        self._pid = 0

    @property
    def client(self) -> Any:
        if self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid():
                    self._client = _client(self._settings)
                    self._pid = os.getpid()
        return self._client

    def check(self) -> None:
        """Raise ``TransientFailure`` if the bucket is not there."""
        try:
            with _translated(self.name):
                self.client.head_bucket(Bucket=self.name)
        except KeyError as error:
            raise TransientFailure("store_unavailable", "no such bucket") from error


class _Body(io.RawIOBase):
    """An answer's body; botocore tells an early end from a complete one, and so do we."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        with _translated():
            data = self._body.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._body.close()
        super().close()


def _client(settings: S3Settings) -> Any:
    config = Config(
        # Newer checksums are unknown to many servers, and some that know them do not check them.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        signature_version="s3v4",
        connect_timeout=_CONNECT_S,
        read_timeout=_READ_S,
        retries={"mode": "standard", "total_max_attempts": _TRIES},
        max_pool_connections=_CONNECTIONS,
        tcp_keepalive=True,
        # Only AWS has a name a bucket.
        s3={"addressing_style": "path" if settings.endpoint else "auto"},
    )
    # A session of its own: boto3's default one is not safe between threads.
    return boto3.session.Session().client(
        "s3",
        endpoint_url=settings.endpoint,
        region_name=settings.region,
        aws_access_key_id=settings.access_key,
        aws_secret_access_key=settings.secret_key,
        config=config,
    )


def _md5(data: bytearray) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


@contextmanager
def _translated(key: str | None = None) -> Iterator[None]:
    """Give errors our names. With ``key``, the server's "not found" means that there is no such key."""
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if key is not None and code in _NO_KEY:
            raise KeyError(key) from error
        raise TransientFailure("store_full" if code in _FULL else "store_unavailable", code) from error
    except (BotoCoreError, OSError) as error:
        raise TransientFailure("store_unavailable", type(error).__name__) from error
