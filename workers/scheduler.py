"""The scheduler: puts back on the queue what the queue has lost, and tidies up. ``python -m workers.scheduler``."""

from __future__ import annotations

import logging
import signal
import threading

from fractureai.errors import TransientFailure
from fractureai.metrics.exporter import Exporter
from fractureai.metrics.processes import Pulse
from fractureai.stages import examinations, reconcile, tidy
from workers.start import deployment

_LOG = logging.getLogger(__name__)

_TIDY_EVERY_S = 300.0
# A round that has begun no other for so long hangs; one that waits for a dead store or queue ends by itself before.
_SILENT_ROUNDS = 3
_SILENT_S = 300.0


def main() -> None:
    """Reconcile until told to stop."""
    built = deployment("scheduler")
    watched = built.settings.metrics
    pulse = Pulse(_SILENT_ROUNDS * built.settings.work.reconcile_every_s + _SILENT_S)
    if watched.port:
        Exporter(watched.host, watched.port, built.registry, alive={"rounds": pulse})
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    tidy_at_s = 0.0
    while not stop.wait(built.settings.work.reconcile_every_s):
        pulse.beat()
        try:
            examinations.run(built)
            reconcile.run(built)
            if built.clock() >= tidy_at_s:
                tidy.run(built)
                examinations.tidy(built)
                examinations.sweep(built.sites, built)
                tidy_at_s = built.clock() + _TIDY_EVERY_S
        except TransientFailure as failure:
            _LOG.warning("this round is skipped: %s", failure)
        except Exception:  # the scheduler must go on; the next round may succeed
            _LOG.exception("this round failed")


if __name__ == "__main__":
    main()
