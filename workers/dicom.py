"""The DICOM listener: takes images from modalities and archives. ``fractureai dicom listen``."""

from __future__ import annotations

import signal
import threading

from fractureai.metrics.processes import export
from fractureai.settings import load_settings
from workers.start import deployment

DEFAULT_PORT = 11112


def main() -> None:
    """Listen until told to stop."""
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    built = deployment("dicom")
    watched = built.settings.metrics
    listener = built.listener(port=load_settings().dicom.port or DEFAULT_PORT)
    export(built.meters, watched.host, watched.port)
    stop.wait()
    listener.close()


if __name__ == "__main__":
    main()
