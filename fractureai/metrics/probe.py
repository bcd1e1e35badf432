"""``python -m fractureai.metrics.probe [PATH]``: a container's health check. Exit code 0 if the exporter says well.

Asks the exporter of this container (``FRACTUREAI_METRICS__PORT``) for ``/healthz``, or for the path that is given.
Loads nothing of the product: it runs every few seconds.
"""

from __future__ import annotations

import http.client
import os
import sys

_TIMEOUT_S = 4


def main() -> int:
    """Ask once."""
    path = sys.argv[1] if len(sys.argv) > 1 else "/healthz"
    connection = http.client.HTTPConnection(
        "127.0.0.1", int(os.environ.get("FRACTUREAI_METRICS__PORT", "9464")), timeout=_TIMEOUT_S
    )
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        sys.stdout.write(answer.read(2000).decode(errors="replace") + "\n")
    except (OSError, http.client.HTTPException) as error:
        sys.stdout.write(f"{type(error).__name__}: {error}\n")
        return 1
    else:
        return int(answer.status != http.client.OK)
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
