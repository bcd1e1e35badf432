"""The ``Decoder`` port: untrusted files are decoded in a warm child process with limits.

A bomb, a hang or a crash costs the file that caused it and one child. The child is started on first use, serves one
file at a time, and is replaced after so many files.
"""

from __future__ import annotations

import base64
import os
import threading
import time
import weakref
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from fractureai.domain.identity import InstanceIdentity
from fractureai.domain.radiograph import Header, Radiograph
from fractureai.domain.sizes import above_limit
from fractureai.errors import RejectedInput
from fractureai.imaging import media
from fractureai.imaging.limits import DecodeLimits
from fractureai.imaging.process import IDENTITY, NONSENSE, Child, ChildDied, ChildTimedOut, raise_refusal
from fractureai.imaging.text import clean

_decoders: weakref.WeakSet[ChildDecoder] = weakref.WeakSet()


class ChildDecoder:
    """Decodes in one child process; safe to share between threads and to carry over a fork.

    Parameters
    ----------
    limits:
        Of every file.
    """

    def __init__(self, limits: DecodeLimits | None = None) -> None:
        self.limits = limits or DecodeLimits()
        self._lock = threading.Lock()
        self._child: Child | None = None
        _decoders.add(self)

    def __enter__(self) -> ChildDecoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def child_pid(self) -> int | None:
        """Process id of the warm child, if there is one."""
        child = self._child
        return child.pid if child is not None else None

    def decode(self, path: Path) -> Radiograph:
        """Read one radiograph, by content, never by name.

        Raises
        ------
        RejectedInput
            The file is at fault; among the reasons are ``decoder_timeout``, ``decoder_memory`` and
            ``decoder_crashed``, of which each costs the child, not the caller.
        TransientFailure
            The file could not be opened, or no child could be started.
        FileNotFoundError
            There is no such file.
        """
        self._check_size(path)
        answer, pixels = self._ask("decode", path)
        try:
            return _radiograph(answer, pixels)
        except NONSENSE as error:
            self.close()
            raise RejectedInput("decoder_crashed", "its answer makes no sense") from error

    def identify(self, path: Path) -> InstanceIdentity | None:
        """Which instance a DICOM file claims to be; ``None`` for anything else, unreadable files included.

        A file that is no DICOM by its first bytes never reaches the child.
        """
        with path.open("rb") as file:
            kind = media.sniff(file.read(media.HEAD_BYTES))
        if kind.media_type != media.DICOM:
            return None
        try:
            self._check_size(path)
            answer, _ = self._ask("identify_instance", path)
        except RejectedInput:
            return None
        if not answer.keys() & set(IDENTITY):
            return None
        return InstanceIdentity(*(clean(answer.get(name, "")) for name in IDENTITY))

    def close(self) -> None:
        """End the child; the next file starts a new one."""
        with self._lock:
            self._drop()

    def _check_size(self, path: Path) -> None:
        size_bytes = path.stat().st_size
        if size_bytes == 0:
            raise RejectedInput("empty_file")
        if size_bytes > self.limits.max_bytes:
            raise RejectedInput("too_many_bytes", above_limit(size_bytes, self.limits.max_bytes))

    def _ask(self, op: str, path: Path) -> tuple[dict[str, Any], np.ndarray[Any, Any] | None]:
        request = {"op": op, "path": str(path.absolute())}
        with self._lock:
            try:
                header, pixels = self._ask_twice(request)
            except ChildTimedOut as error:
                raise RejectedInput("decoder_timeout", f"{self.limits.timeout_s:g} s") from error
            except ChildDied as error:
                raise RejectedInput("decoder_crashed") from error
        raise_refusal(header)
        return header, pixels

    def _ask_twice(self, request: dict[str, str]) -> tuple[dict[str, Any], np.ndarray[Any, Any] | None]:
        """Ask, and ask once more in a fresh child if the first one died: something else may have killed it."""
        try:
            return self._ask_once(request)
        except ChildDied:
            return self._ask_once(request)

    def _ask_once(self, request: dict[str, str]) -> tuple[dict[str, Any], np.ndarray[Any, Any] | None]:
        child = self._warm()
        try:
            answer = child.ask(request, deadline_s=time.monotonic() + self.limits.timeout_s)
        except BaseException:
            # Also for an interrupt of the caller: an answer half read must not be taken for the next file's.
            self._drop()
            raise
        header, _ = answer
        out_of_memory = header.get("rejected") == "decoder_memory"
        if out_of_memory or header.get("worn") or child.asked >= self.limits.files_per_child:
            self._drop()
        return answer

    def _warm(self) -> Child:
        if self._child is not None and not self._child.is_alive():
            self._drop()
        if self._child is None:
            self._child = Child.start(self.limits)
        return self._child

    def _drop(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()

    def _forget_after_fork(self) -> None:
        """The child belongs to the process that started it; this one starts its own."""
        self._lock = threading.Lock()
        child, self._child = self._child, None
        if child is not None:
            child.disown()


def _radiograph(answer: dict[str, Any], pixels: np.ndarray[Any, Any] | None) -> Radiograph:
    if pixels is None:
        raise ValueError("no pixels")
    height, width = (int(extent) for extent in answer["source"])
    if min(height, width) < 1:
        raise ValueError("a source without extent")
    spacing = answer["spacing_mm"]
    return Radiograph(
        pixels=pixels,
        source_height_px=height,
        source_width_px=width,
        header=Header.from_json({keyword: clean(text) for keyword, text in answer["header"].items()}),
        pixel_spacing_mm=(float(spacing[0]), float(spacing[1])) if spacing else None,
        dicom_context=base64.b64decode(answer["dicom_context"]),
    )


def _forget_all() -> None:
    for decoder in list(_decoders):
        decoder._forget_after_fork()


os.register_at_fork(after_in_child=_forget_all)
