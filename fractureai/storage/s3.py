"""The store in an S3 bucket, of any maker.

Nothing is asked of the server that only some can do: no conditional writes, no object metadata. Encryption and SHA-256
checksums are asked for where the settings say so.
"""

from __future__ import annotations

import base64
import hashlib
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from fractureai.domain.ports import StoredObject
from fractureai.errors import TransientFailure
from fractureai.storage.paths import check_key, check_prefix
from fractureai.storage.s3_client import Bucket, S3Settings, translated

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["S3Settings", "S3Sink", "S3Store"]

_COPY_BYTES = 1 << 20


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
        self._bucket = Bucket(settings)
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
        with translated(check_key(key)):
            answer = self._bucket.client.get_object(Bucket=self._bucket.name, Key=key)
            with answer["Body"] as body:
                data: bytes = body.read()
                return data

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """Read as a stream. Raises ``KeyError`` if there is none."""
        with translated(check_key(key)):
            answer = self._bucket.client.get_object(Bucket=self._bucket.name, Key=key)
        with io.BufferedReader(_Body(answer["Body"]), _COPY_BYTES) as stream:
            yield stream

    def size_bytes(self, key: str) -> int | None:
        """The object's size; ``None`` if there is none."""
        try:
            with translated(check_key(key)):
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
        asked = self._bucket.settings.encryption_of(check_key(target))
        with translated(check_key(source)):
            answer = self._bucket.client.copy_object(
                Bucket=self._bucket.name,
                Key=target,
                CopySource={"Bucket": self._bucket.name, "Key": source},
                **asked,
            )
        self._bucket.confirm(asked, answer)

    def address(self, key: str, *, valid_s: int, file_name: str, media_type: str) -> str | None:
        """Where whoever holds it can fetch this one object for ``valid_s`` seconds, and nothing else.

        Signed here, without a request; the host is the settings', never a sender's.
        """
        answer = {
            "ResponseContentDisposition": f'attachment; filename="{file_name}"',
            "ResponseContentType": media_type,
            "ResponseCacheControl": "no-store",
        }
        where = {"Bucket": self._bucket.name, "Key": check_key(key)}
        with translated():
            signed: str = self._bucket.signer.generate_presigned_url(
                "get_object", Params=where | answer, ExpiresIn=valid_s, HttpMethod="GET"
            )
        return signed

    def bucket_exists(self) -> bool:
        """Whether the bucket is there, as far as this key may know."""
        return self._bucket.exists()

    def create_bucket(self) -> bool:
        """Make the bucket; ``False`` if it is there. For the first start only."""
        return self._bucket.create()

    def delete(self, key: str) -> None:
        """Remove it; nothing happens if there is none."""
        with suppress(KeyError), translated(check_key(key)):
            self._bucket.client.delete_object(Bucket=self._bucket.name, Key=key)

    def keys(self, prefix: str) -> Iterator[str]:
        """All keys that start with ``prefix``, in no order. For repair only, never on the way of the work."""
        pages = self._bucket.client.get_paginator("list_objects_v2")
        with translated(prefix):
            for page in pages.paginate(Bucket=self._bucket.name, Prefix=check_prefix(prefix)):
                yield from (entry["Key"] for entry in page.get("Contents", ()))


class S3Sink:
    """A write in progress: one PUT if it stays small, a multipart upload if not. Holds one part in memory.

    Every request carries a checksum of its body: Content-MD5, which all servers check, while some take a wrong SHA-256;
    or SHA-256 if the settings say so, for servers that check and keep it.
    """

    def __init__(self, bucket: Bucket, key: str) -> None:
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
            room = self._bucket.settings.part_bytes - len(self._buffer)
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
        with suppress(TransientFailure), translated():
            self._bucket.client.abort_multipart_upload(**self._upload())

    def _check_open(self) -> None:
        if not self._open:
            raise ValueError(f"the write of {self._key} has ended")

    def _send_whole(self) -> None:
        asked = self._bucket.settings.encryption_of(self._key)
        with translated():
            answer = self._bucket.client.put_object(
                Bucket=self._bucket.name, Key=self._key, Body=self._buffer, **self._checksum(), **asked
            )
        self._bucket.confirm(asked, answer)

    def _send_part(self) -> None:
        if self._upload_id is None:
            self._begin()
        number = len(self._parts) + 1
        checksum = self._checksum()
        with translated():
            sent = self._bucket.client.upload_part(**self._upload(), PartNumber=number, Body=self._buffer, **checksum)
        part = {"ETag": sent["ETag"], "PartNumber": number}
        if sent.get("ChecksumSHA256"):
            part["ChecksumSHA256"] = sent["ChecksumSHA256"]
        self._parts.append(part)
        self._buffer = bytearray()

    def _begin(self) -> None:
        settings = self._bucket.settings
        asked = settings.encryption_of(self._key)
        kind = {"ChecksumAlgorithm": "SHA256"} if settings.checksum == "sha256" else {}
        with translated():
            begun = self._bucket.client.create_multipart_upload(
                Bucket=self._bucket.name, Key=self._key, **kind, **asked
            )
        self._upload_id = begun["UploadId"]
        self._bucket.confirm(asked, begun)

    def _complete(self) -> None:
        with translated():
            self._bucket.client.complete_multipart_upload(**self._upload(), MultipartUpload={"Parts": self._parts})

    def _checksum(self) -> dict[str, str]:
        if self._bucket.settings.checksum == "sha256":
            return {"ChecksumSHA256": base64.b64encode(hashlib.sha256(self._buffer).digest()).decode()}
        return {"ContentMD5": base64.b64encode(hashlib.md5(self._buffer, usedforsecurity=False).digest()).decode()}

    def _upload(self) -> dict[str, Any]:
        return {"Bucket": self._bucket.name, "Key": self._key, "UploadId": self._upload_id}


class _Body(io.RawIOBase):
    """An answer's body; botocore tells an early end from a complete one, and so do we."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        with translated():
            data = self._body.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._body.close()
        super().close()
