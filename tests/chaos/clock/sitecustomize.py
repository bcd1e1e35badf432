"""Puts this process's idea of the time off by the seconds in the file CHAOS_CLOCK; read again twice a second.

Python imports a module of this name by itself at its start. The system's clock stays as it is: the machine is not ours.
"""

import os
import time

_true_time, _path = time.time, os.environ.get("CHAOS_CLOCK")
_known = [float("-inf"), 0.0]


def _offset_time() -> float:
    now = time.monotonic()
    if now - _known[0] > 0.5:
        try:
            with open(_path) as file:  # noqa: PTH123 nothing that needs an import
                _known[1] = float(file.read())
        except (OSError, ValueError):
            pass
        _known[0] = now
    return _true_time() + _known[1]


if _path:
    time.time = _offset_time
