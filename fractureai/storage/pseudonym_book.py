"""The ``PseudonymBook`` port: which pseudonym stands for what, in a file of the site, never in the store.

A line a pseudonym, only ever added to, by any number of processes; the same line may be there twice. With a key each
line is encrypted (Fernet: AES-128-CBC and HMAC-SHA-256), so that a copy of the file alone tells nothing.
"""

from __future__ import annotations

import base64
import fcntl
import hmac
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from fractureai.errors import BrokenDeployment, TransientFailure

_MOST_REMEMBERED = 100_000


class NoBook:
    """Nothing is written: nobody can go back, not even with the key, but by trying."""

    def note(self, site: str, kind: str, original: str, pseudonym: str) -> None:
        """Forget it."""


class FileBook:
    """A book in a file.

    Parameters
    ----------
    key:
        Of the pseudonyms; a key of its own is derived from it. ``None``: the lines are plain JSON.
    """

    def __init__(self, path: Path, key: bytes | None) -> None:
        self._path = path
        self._cipher = Fernet(_derived(key)) if key else None
        self._lock = threading.Lock()
        self._noted: set[tuple[str, str, str]] = set()

    def note(self, site: str, kind: str, original: str, pseudonym: str) -> None:
        """Write one down, unless this process has already.

        Raises
        ------
        TransientFailure
            If it cannot be written: then nothing may be accepted under the pseudonym.
        """
        if not original:
            return
        entry = (site, kind, pseudonym)
        with self._lock:
            if entry in self._noted:
                return
            line = json.dumps([site, kind, original, pseudonym], ensure_ascii=False).encode()
            self._append(self._cipher.encrypt(line) if self._cipher else line)
            if len(self._noted) >= _MOST_REMEMBERED:
                self._noted.clear()
            self._noted.add(entry)

    def entries(self) -> Iterator[tuple[str, str, str, str]]:
        """``(site, kind, original, pseudonym)`` of every line.

        Raises
        ------
        BrokenDeployment
            If the file was written with another key.
        """
        if not self._path.exists():
            return
        for line in self._path.read_bytes().splitlines():
            if not line:
                continue
            try:
                text = self._cipher.decrypt(line) if self._cipher else line
                site, kind, original, pseudonym = json.loads(text)
            except (InvalidToken, ValueError) as error:
                raise BrokenDeployment(f"{self._path} cannot be read with this key") from error
            yield site, kind, original, pseudonym

    def _append(self, line: bytes) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                os.write(descriptor, line + b"\n")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise TransientFailure("store_unavailable", f"{self._path.name} cannot be written") from error


def _derived(key: bytes) -> bytes:
    return base64.urlsafe_b64encode(hmac.digest(key, b"fractureai pseudonym book", "sha256"))
