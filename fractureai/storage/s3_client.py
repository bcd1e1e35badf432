"""How the bucket is reached: settings, the client and its limits, and what the server's errors mean."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from fractureai.errors import BrokenDeployment, TransientFailure

# The least any S3 server takes for a part that is not the last.
_LEAST_PART_BYTES = 5 << 20
_NO_KEY = frozenset({"NoSuchKey", "NotFound", "404"})
_NO_BUCKET = "the bucket does not exist; run `fractureai migrate --create-bucket`"
_FORBIDDEN = frozenset({"403", "AccessDenied"})
_FULL = frozenset({"InsufficientStorage", "507", "QuotaExceeded", "XMinioStorageFull"})
_THERE = frozenset({"BucketAlreadyOwnedByYou", "BucketAlreadyExists"})
_CONNECTIONS = 16
_DEFAULT_REGION = "us-east-1"
_KMS = "aws:kms"


@dataclass(frozen=True, slots=True)
class S3Settings:
    """Which bucket, how to reach it, and what is asked of the server.

    Attributes
    ----------
    endpoint:
        URL of the server; ``None`` for AWS.
    access_key, secret_key:
        ``None`` for the places AWS's own tools look in.
    encryption:
        Server-side encryption to ask for: ``AES256``, ``aws:kms``; ``None`` leaves it to the bucket. A server that
        does not confirm it is refused.
    part_bytes:
        What a stream holds in memory, and the size of the parts of a large object.
    kms_key_id, site_keys:
        ``aws:kms``: the key, and the keys of those sites that have their own; ``None`` for the bucket's.
    checksum:
        How the server is told what it should have received: ``md5``, which all check, or ``sha256``, which is also
        kept by those that know it.
    addressing:
        Whether the bucket's name stands in the path or in the host name; ``auto``: in the path, but for AWS.
    ca_bundle:
        Certificates the server's is checked against; ``None`` for the public ones.
    public_endpoint:
        URL of the server for those who are sent there directly; ``None`` for ``endpoint``.
    connect_timeout_s, read_timeout_s, attempts:
        Each attempt waits that long for a connection and for every answer. Together well within a stage's lease, so
        that a stage hears of a dead server while it still holds its study.
    """

    bucket: str
    endpoint: str | None = None
    region: str = _DEFAULT_REGION
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    encryption: Literal["AES256", "aws:kms"] | None = None
    part_bytes: int = 8 << 20
    kms_key_id: str | None = None
    site_keys: Mapping[str, str] = field(default_factory=dict)
    checksum: Literal["md5", "sha256"] = "md5"
    addressing: Literal["auto", "path", "virtual"] = "auto"
    ca_bundle: Path | None = None
    public_endpoint: str | None = None
    connect_timeout_s: float = 3
    read_timeout_s: float = 20
    attempts: int = 3

    def __post_init__(self) -> None:
        if self.part_bytes < _LEAST_PART_BYTES:
            raise ValueError(f"a part has at least {_LEAST_PART_BYTES} bytes, got {self.part_bytes}")
        if (self.kms_key_id or self.site_keys) and self.encryption != _KMS:
            raise ValueError(f"a key is named, so encryption must be {_KMS}, got {self.encryption}")

    def encryption_of(self, key: str) -> dict[str, str]:
        """What to ask for with the object under ``key``."""
        if self.encryption is None:
            return {}
        asked = {"ServerSideEncryption": self.encryption}
        if self.encryption == _KMS:
            root, _, rest = key.partition("/")
            site = rest.partition("/")[0] if root == "sites" else ""
            if key_id := self.site_keys.get(site, self.kms_key_id):
                asked["SSEKMSKeyId"] = key_id
        return asked


class Bucket:
    """A bucket and this process's client for it. Sockets must not cross a fork, so the client is made anew there."""

    def __init__(self, settings: S3Settings) -> None:
        self.settings = settings
        self.name = settings.bucket
        self._lock = threading.Lock()
        self._client: Any = None
        self._signer: Any = None
        self._pid = 0

    @property
    def client(self) -> Any:
        """Where requests go."""
        self._own()
        return self._client

    @property
    def signer(self) -> Any:
        """Signs addresses of the public endpoint; sends nothing."""
        self._own()
        with self._lock:
            if self._signer is None:
                public = self.settings.public_endpoint or self.settings.endpoint
                self._signer = _client(self.settings, public)
        return self._signer

    def check(self) -> None:
        """Raise ``TransientFailure`` if the bucket does not exist: to the work it is one more outage of the store."""
        if not self.exists():
            raise TransientFailure("store_unavailable", _NO_BUCKET)

    def create(self) -> bool:
        """Make the bucket; ``False`` if it is there."""
        if self.exists():
            return False
        region = self.settings.region
        where = {} if region == _DEFAULT_REGION else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        with translated():
            try:
                self.client.create_bucket(Bucket=self.name, **where)
            except ClientError as error:
                if _code_of(error) in _THERE:
                    return False
                raise
        return True

    def confirm(self, asked: Mapping[str, str], answer: Mapping[str, Any]) -> None:
        """Raise ``BrokenDeployment`` if the server does not say that it encrypted as asked, or names another key.

        A server that names no key is believed, as is one that was asked for an alias.
        """
        wanted = asked.get("ServerSideEncryption")
        if wanted and answer.get("ServerSideEncryption") != wanted:
            raise BrokenDeployment(
                f"the S3 server does not confirm server-side encryption ({wanted}): give it keys, or leave"
                " FRACTUREAI_STORE__ENCRYPTION unset and encrypt its disks"
            )
        key_id, told = asked.get("SSEKMSKeyId", ""), str(answer.get("SSEKMSKeyId") or "")
        if key_id and told and "alias/" not in key_id and _bare(key_id) != _bare(told):
            raise BrokenDeployment(f"the S3 server encrypted with another key ({told}) than it was asked to ({key_id})")

    def exists(self) -> bool:
        """Whether the bucket is there, as far as this key may know."""
        try:
            with translated(self.name):
                self.client.head_bucket(Bucket=self.name)
        except KeyError:
            return False
        except TransientFailure as failure:
            # A key that may not list is not told, but not that the bucket is missing either.
            if failure.detail not in _FORBIDDEN:
                raise
        return True

    def _own(self) -> None:
        if self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid():
                    self._client = _client(self.settings, self.settings.endpoint)
                    self._signer = None
                    self._pid = os.getpid()


def _bare(key_id: str) -> str:
    """A key's id without what an ARN puts in front of it."""
    return key_id.rsplit("/", 1)[-1]


def _client(settings: S3Settings, endpoint: str | None) -> Any:
    style = settings.addressing
    if style == "auto":
        # Only AWS has a host name for each bucket without being asked; its certificate covers none with a dot. The
        # library's own "auto" signs addresses for the wrong region.
        style = "path" if endpoint or "." in settings.bucket else "virtual"
    config = Config(
        # Newer checksums are unknown to many servers, and some that know them do not check them: we say which.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        signature_version="s3v4",
        connect_timeout=settings.connect_timeout_s,
        read_timeout=settings.read_timeout_s,
        # With back-off and jitter of its own, and only for what may pass.
        retries={"mode": "standard", "total_max_attempts": settings.attempts},
        max_pool_connections=_CONNECTIONS,
        tcp_keepalive=True,
        s3={"addressing_style": style},
    )
    # A session of its own: boto3's default one is not safe between threads.
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=settings.region,
        aws_access_key_id=settings.access_key,
        aws_secret_access_key=settings.secret_key,
        verify=str(settings.ca_bundle) if settings.ca_bundle else None,
        config=config,
    )


@contextmanager
def translated(key: str | None = None) -> Iterator[None]:
    """Give errors our names. With ``key``, the server's "not found" means that there is no such key."""
    try:
        yield
    except ClientError as error:
        code = _code_of(error)
        if key is not None and code in _NO_KEY:
            raise KeyError(key) from error
        detail = _NO_BUCKET if code == "NoSuchBucket" else code
        raise TransientFailure("store_full" if code in _FULL else "store_unavailable", detail) from error
    except (BotoCoreError, OSError) as error:
        raise TransientFailure("store_unavailable", type(error).__name__) from error


def _code_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
