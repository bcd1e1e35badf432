"""One run: a world, a sender, faults, and the verdict."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.chaos.checker import Verdict, check
from tests.chaos.faults import Fault, plan, strike
from tests.chaos.sender import Sender, draw, receiver
from tests.chaos.world import Kind, world

# A message that was taken but not leased by a worker that died is sent again after two minutes.
_TOLD_WITHIN_S = 240


@dataclass(frozen=True)
class Order:
    """What to run.

    Attributes
    ----------
    over_s:
        Sending and faults are spread over so many seconds.
    """

    seed: int
    studies: int = 1000
    kind: Kind = "s3"
    over_s: float = 240.0
    outage_s: float = 60.0
    worker_kills: int = 20
    patience_s: float = 900.0
    keep_logs: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    order: Order
    faults: list[Fault]
    verdict: Verdict
    sender_retries: int
    recovered_s: float

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return not self.verdict.wrong

    def to_json(self) -> dict[str, Any]:
        """For a file."""
        return {
            "seed": self.order.seed,
            "store": self.order.kind,
            "faults": [asdict(fault) for fault in self.faults],
            "accepted": self.verdict.accepted,
            "outcomes": dict(self.verdict.outcomes),
            "wrong": self.verdict.wrong,
            "leftovers": len(self.verdict.leftovers),
            "sender_retries": self.sender_retries,
            "recovered_s": round(self.recovered_s, 1),
        }


def run(order: Order, say: Callable[[str], None] = lambda _: None) -> Outcome:
    """Start a world, break it, and look at what it kept."""
    faults = plan(
        order.seed, order.over_s, s3=order.kind == "s3", outage_s=order.outage_s, worker_kills=order.worker_kills
    )
    with contextlib.ExitStack() as stack:
        files = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fai-sent-")))
        sent = draw(files, order.studies, order.seed)
        url, told = stack.enter_context(receiver())
        built = stack.enter_context(world(order.kind, url, keep_logs=order.keep_logs))
        sender = Sender(built.url, files, sent, order.seed)
        sending = threading.Thread(target=sender.run, kwargs={"over_s": order.over_s})
        sending.start()
        strike(faults, built, say)
        sending.join()
        calm_s = time.monotonic()
        never = sender.wait(patience_s=order.patience_s)
        recovered_s = time.monotonic() - calm_s
        _let_messages_arrive(told, order, never)
        built.keeper.stop()
        verdict = check(built.store, sender.notes, list(told))
        verdict.wrong += [f"batch {each} is not finished" for each in never]
        verdict.wrong += [f"refused for good: {each}" for each in sender.refused]
        return Outcome(order, faults, verdict, sender.retries, recovered_s)


def _let_messages_arrive(told: list[dict[str, Any]], order: Order, never: list[str]) -> None:
    """The last messages come after the last result."""
    deadline = time.monotonic() + (0 if never else _TOLD_WITHIN_S)
    while len({message["study_id"] for message in told}) < order.studies and time.monotonic() < deadline:
        time.sleep(0.2)
