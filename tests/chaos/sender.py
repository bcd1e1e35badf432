"""A sender that never gives up, and writes down what was accepted."""

from __future__ import annotations

import hashlib
import http.server
import json
import random
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fractureai.client import Client, ServerRefused
from fractureai.errors import TransientFailure
from fractureai.phantoms.files import to_png
from fractureai.phantoms.render import PhantomSpec, render
from fractureai.webhook.sender import ID_HEADER

_SHAPES = 10
_SIDE_PX = 500
_BROKEN_SHARE = 0.02
_PAUSE_S = 1.0
_REGIONS = ("elbow", "hand", "shoulder", "hip", "leg")


def draw(folder: Path, count: int, seed: int) -> list[dict[str, Any]]:
    """``count`` different files: phantoms, each with a comment of its own, and a few that were cut off."""
    choose = random.Random(seed)
    shapes = [_small(region, place) for place in range(_SHAPES // len(_REGIONS)) for region in _REGIONS]
    files = []
    for number in range(count):
        readable = choose.random() >= _BROKEN_SHARE
        data = _commented(choose.choice(shapes), f"chaos {seed} {number}")
        if not readable:
            # The comment stays, so that every file is another's equal in nothing.
            data = data[: choose.randrange(100, 400)]
        name = f"view-{number:05d}.png"
        (folder / name).write_bytes(data)
        files.append({"name": name, "sha256": hashlib.sha256(data).hexdigest(), "readable": readable})
    return files


def _small(region: str, seed: int) -> bytes:
    return to_png(render(PhantomSpec(region, "frontal", fractured=False, seed=seed, height_px=_SIDE_PX, width_px=400)))


def _commented(png: bytes, text: str) -> bytes:
    """The picture with a tEXt chunk after its header."""
    body = b"tEXt" + b"Comment\0" + text.encode()
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    header = 8 + 25
    return png[:header] + chunk + png[header:]


@dataclass
class Sender:
    """Sends ``files`` in batches, each until it is accepted.

    Attributes
    ----------
    notes:
        What was accepted, as :func:`tests.chaos.checker.check` reads it.
    refused:
        Answers that no retry can change; there must be none.
    """

    url: str
    folder: Path
    files: list[dict[str, Any]]
    seed: int
    notes: list[dict[str, Any]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    retries: int = 0

    def run(self, *, over_s: float) -> None:
        """Send everything, spread over so many seconds."""
        choose = random.Random(self.seed)
        left, sent, started = list(self.files), 0, time.monotonic()
        with Client(self.url, timeout_s=60) as client:
            while left:
                size = choose.choice((1, 5, 20, 40))
                batch, left = left[:size], left[size:]
                self._until_accepted(client, batch, key=f"chaos-{self.seed}-{sent}")
                sent += len(batch)
                due_s = started + over_s * sent / len(self.files)
                time.sleep(max(0.0, due_s - time.monotonic()))

    def _until_accepted(self, client: Client, batch: list[dict[str, Any]], key: str) -> None:
        while True:
            paths = [(file["name"], self.folder / file["name"]) for file in batch]
            try:
                batch_id = client.submit_batch(paths, key=key)
            except ServerRefused as refusal:
                self.refused.append(str(refusal.detail))
                return
            except TransientFailure:
                self.retries += 1
                time.sleep(_PAUSE_S)
            else:
                self.notes.append({"batch_id": batch_id, "files": batch})
                return

    def wait(self, *, patience_s: float) -> list[str]:
        """Wait until every accepted batch is finished; the ids of those that are not."""
        open_batches = [note["batch_id"] for note in self.notes]
        deadline = time.monotonic() + patience_s
        with Client(self.url, timeout_s=30) as client:
            while open_batches and time.monotonic() < deadline:
                try:
                    if client.batch(open_batches[0], wait_s=10).finished:
                        open_batches.pop(0)
                except TransientFailure:
                    time.sleep(_PAUSE_S)
        return open_batches


@contextmanager
def receiver() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Whoever is told of finished studies: the address, and what it was told."""
    told: list[dict[str, Any]] = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told.append({"study_id": body["study_id"], "delivery_id": self.headers[ID_HEADER]})
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", told
    finally:
        server.shutdown()
        server.server_close()
