"""``python -m tests.fuzz.guided``: a hunt guided by which lines the inputs reach. Needs atheris."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import atheris

_WATCHED = ["pydicom", "pynetdicom", "PIL", "zipfile", "werkzeug", "joserfc", "fractureai"]
_TIMEOUT_S = 300  # a last resort: whoever watches from outside strikes earlier

with atheris.instrument_imports(include=_WATCHED):
    from tests.fuzz.hunt import watched
    from tests.fuzz.mutation import Mutator
    from tests.fuzz.readers import READERS


def main() -> None:
    """Hunt until the time is over: ``READER SECONDS SEED FOLDER``."""
    name, seconds, seed, folder = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    reader = next(reader for reader in READERS if reader.name == name)
    attempt = watched(reader, folder)
    grown = folder / "corpus" / name
    grown.mkdir(parents=True, exist_ok=True)
    with atheris.instrument_imports(include=_WATCHED):
        for data in reader.seeds():  # loads whatever the reader loads late
            attempt(data)
            (grown / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    mutator = Mutator(reader.seeds(), seed)

    def change(data: bytes, most: int, number: int) -> bytes:
        changed: bytes = mutator.change(data) if number % 2 else atheris.Mutate(data, most)
        return changed[:most]

    options = [f"-max_total_time={max(1, int(seconds))}", f"-seed={seed or 1}", "-max_len=65536"]
    options += ["-rss_limit_mb=0", f"-timeout={_TIMEOUT_S}", f"-artifact_prefix={folder}/"]
    atheris.Setup([sys.argv[0], str(grown), *options], attempt, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
