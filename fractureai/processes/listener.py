"""The DICOM listener: takes images from modalities and archives."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

from fractureai.metrics.processes import export
from fractureai.processes.start import deployment_of, keep_beating, process_name
from fractureai.settings import Settings

_DEFAULT_PORT = 11112


def run(settings: Settings, *, port: int | None = None, announce: Callable[[str], object] = lambda _: None) -> None:
    """Listen until told to stop.

    Parameters
    ----------
    port:
        Goes before that of the settings.
    announce:
        Called with the address once it listens.

    Raises
    ------
    BrokenDeployment
        If the peers file is wrong, anyone could send, or the port is taken.
    """
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    built = deployment_of(settings, "dicom")
    chosen, watched = settings.dicom, settings.metrics
    listener = built.listener(port=port or chosen.port or _DEFAULT_PORT)
    export(built.meters, watched.host, watched.port)
    keep_beating(built, process_name("dicom"), "dicom")
    announce(f"{chosen.host}:{port or chosen.port or _DEFAULT_PORT}")
    stop.wait()
    listener.close()
