"""A real S3 server for the tests: ``rclone serve s3`` on a port of loopback that the system chooses."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from fractureai.storage.s3 import S3Settings

RCLONE = Path(sys.executable).parent / "rclone"
ACCESS_KEY, SECRET_KEY = "TESTACCESSKEY", "test-secret-of-loopback"


@dataclass(frozen=True)
class S3Server:
    endpoint: str

    def settings(self, bucket: str, **more: Any) -> S3Settings:
        return S3Settings(bucket, self.endpoint, "us-east-1", ACCESS_KEY, SECRET_KEY, **more)


@contextmanager
def rclone(folder: Path) -> Iterator[S3Server]:
    """Serve ``folder``'s sub-folders as buckets; at the end the server is killed."""
    command = [
        RCLONE,
        "serve",
        "s3",
        "--addr=127.0.0.1:0",
        f"--auth-key={ACCESS_KEY},{SECRET_KEY}",
        "--config=/dev/null",
        "--log-level=NOTICE",
        str(folder),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield S3Server(_endpoint(process))
        finally:
            process.kill()


def _endpoint(process: subprocess.Popen[str]) -> str:
    for line in process.stderr:
        if "http://" in line:
            # Its log must not fill the pipe.
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return "http://" + line.split("http://")[1].split("/")[0].strip("]\n")
    raise RuntimeError("rclone ended without serving")


def make_bucket(settings: S3Settings) -> None:
    """Through the API: the server does not look at its folders again for minutes."""
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=settings.endpoint,
        region_name=settings.region,
        aws_access_key_id=settings.access_key,
        aws_secret_access_key=settings.secret_key,
    )
    client.create_bucket(Bucket=settings.bucket)
    client.close()
