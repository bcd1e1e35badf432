"""One count for many processes: a worker's children, or all of one machine, count into files of one folder.

A file belongs to a place (a child's number in its pool), not to a process id: a child that replaces another goes on
in its file. So their number is bounded, however many children a worker has had.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from fractureai.metrics.instruments import Instruments


class Meters:
    """The instruments of this process, and what a scrape of it shows.

    Parameters
    ----------
    folder:
        Shared with other processes; ``None`` for a process that counts alone.
    place:
        Who counts here, asked at every count, for it changes with a fork. No two processes at a time may answer the
        same for one folder. Letters, digits and hyphens only.
    """

    def __init__(self, folder: Path | None = None, place: Callable[[], str] = lambda: str(os.getpid())) -> None:
        self._folder = folder
        self._alone = CollectorRegistry()
        if folder is None:
            self.instruments = Instruments(self._alone)
            return
        folder.mkdir(parents=True, exist_ok=True)
        # The library has these two ways to be told, for the whole process; they stay, for it makes a value for each
        # new set of labels as it comes along.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        values.ValueClass = values.MultiProcessValue(place)
        self.instruments = Instruments(None)

    def registry(self, *collectors: Collector) -> CollectorRegistry:
        """Everything a scrape of this process shows, with ``collectors`` that look when they are asked."""
        registry = CollectorRegistry()
        if self._folder is None:
            registry.register(self._alone)
        else:
            MultiProcessCollector(registry, path=str(self._folder))
        ProcessCollector(registry=registry)
        for collector in collectors:
            registry.register(collector)
        return registry
