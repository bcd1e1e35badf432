"""``python -m bench.dicom``: how many images the whole service takes by C-STORE and analyses; dcmtk sends them.

Starts `fractureai serve` with its listener and sends instances of many studies from several senders at once, each study
by one of them, as a modality does. When all is read, all is sent again: that must be no new work. Ends well only if
every instance was kept once and read once.

With ``--spread`` the views of a study come from different senders, the second of all studies after the first of all. So
examinations are taken for complete before all their views are there, and the late ones revise them. What is expected is
that every examination has one result that holds, of all its views; what was read for superseded ones is counted apart.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import generate_uid

from bench import workload
from fractureai.commands.serve import settings_for
from fractureai.domain import keys
from fractureai.domain.records import StudyRow
from fractureai.domain.study import WorkState
from fractureai.embedded.service import embedded_service
from fractureai.storage.ledger.sql import SqlLedger
from fractureai.storage.local import LocalStore
from tests.dicom_programs import dcmtk

_CACHE = Path(__file__).resolve().parent.parent / ".cache" / "bench"
_PORTS = 18_000, 18_104
_SITE = "local"
_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Findings:
    """What the service has of the instances, by the hashes of their files, which all differ.

    Attributes
    ----------
    kept:
        How many instances lie in the store as they came.
    current:
        Instances of every study that is done and that no revision superseded.
    superseded:
        How many were read for studies that a revision superseded.
    """

    kept: int
    current: tuple[tuple[str, ...], ...]
    superseded: int
    last_finished_s: float

    @property
    def current_readings(self) -> int:
        """How many readings of an image hold."""
        return sum(len(images) for images in self.current)

    @property
    def doubles(self) -> int:
        """How many of them are of an image another one is of."""
        return self.current_readings - len({image for images in self.current for image in images})


def main() -> None:
    """Entry point."""
    chosen = _arguments()
    if not dcmtk("storescu"):
        sys.exit("bench.dicom needs dcmtk's storescu (Debian's package dcmtk)")
    with tempfile.TemporaryDirectory(prefix="dicom-", ignore_cleanup_errors=True) as scratch:
        senders = _prepare(chosen, Path(scratch) / "files")
        os.environ |= {
            "FRACTUREAI_DICOM__PORT": str(_PORTS[1]),
            "FRACTUREAI_DICOM__QUIET_S": str(chosen.quiet),
            "FRACTUREAI_WORK__RECONCILE_EVERY_S": "1",
        }
        data = Path(scratch) / "data"
        with embedded_service(settings_for(data, "127.0.0.1", _PORTS[0])):
            figures, wrong = _measure(chosen, senders, data)
    text = json.dumps(figures, indent=1)
    print(text)
    if chosen.json:
        chosen.json.write_text(text + "\n")
    if wrong:
        sys.exit("; ".join(wrong))


def _prepare(chosen: argparse.Namespace, folder: Path) -> list[list[Path]]:
    """``chosen.instances`` files, so many to a study, dealt to the senders: study by study, or view by view."""
    folder.mkdir()
    drawn = workload.files(min(chosen.instances, chosen.distinct), 1, _CACHE / "phantoms")
    senders: list[list[tuple[int, Path]]] = [[] for _ in range(chosen.senders)]
    for number in range(chosen.instances):
        of_study, place = divmod(number, chosen.images)
        if place == 0:
            study = generate_uid()
        dataset = dcmread(drawn[number % len(drawn)])
        dataset.StudyInstanceUID, dataset.SOPInstanceUID = study, generate_uid()
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        file = folder / f"{number}.dcm"
        dataset.save_as(file)
        turn = place if chosen.spread else 0
        senders[(of_study + turn) % chosen.senders].append((turn, file))
    return [[file for _, file in sorted(files, key=lambda each: each[0])] for files in senders]


def _measure(chosen: argparse.Namespace, senders: list[list[Path]], data: Path) -> tuple[dict[str, float], list[str]]:
    """The figures, and what is not as it must be."""
    megabytes = sum(file.stat().st_size for files in senders for file in files) / 1e6
    store, ledger = LocalStore(data / "store"), SqlLedger.open(f"sqlite:///{data / 'ledger.sqlite'}")
    begun_s = time.time()
    received_s = _send(senders)
    first = _when_done(chosen, store, ledger)
    again_s = _send(senders)
    found = _when_done(chosen, store, ledger)
    ledger.close()
    studies = math.ceil(chosen.instances / chosen.images)
    figures = {
        "instances": chosen.instances,
        "studies": studies,
        "megabytes": round(megabytes, 1),
        "senders": chosen.senders,
        "spread": chosen.spread,
        "quiet_s": chosen.quiet,
        "received_per_s": round(chosen.instances / received_s, 1),
        "megabytes_per_s": round(megabytes / received_s, 1),
        "received_again_per_s": round(chosen.instances / again_s, 1),
        "kept": found.kept,
        "current_studies": len(found.current),
        "current_readings": found.current_readings,
        "doubles": found.doubles,
        "superseded_readings": found.superseded,
        "readings_of_the_second_round": _readings(found) - _readings(first),
        "whole_chain_s": round(first.last_finished_s - begun_s, 1),
        "analysed_per_s": round(chosen.instances / (first.last_finished_s - begun_s), 2),
        "load_average": round(os.getloadavg()[0], 1),
    }
    expected = {
        "kept": chosen.instances,
        "current_studies": studies,
        "current_readings": chosen.instances,
        "doubles": 0,
        "readings_of_the_second_round": 0,
    } | ({} if chosen.spread else {"superseded_readings": 0})
    wrong = [f"{name} is {figures[name]}, not {value}" for name, value in expected.items() if figures[name] != value]
    return figures, wrong


def _readings(found: Findings) -> int:
    return found.current_readings + found.superseded


def _send(senders: Sequence[Sequence[Path]]) -> float:
    """All senders at once, each with its files in their order; returns the seconds until the last has its answers."""
    begun_s = time.perf_counter()
    command = [str(dcmtk("storescu")), "-aet", "BENCH", "127.0.0.1", str(_PORTS[1])]
    processes = [
        subprocess.Popen([*command, *map(str, files)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for files in senders
        if files
    ]
    for process in processes:
        output, _ = process.communicate()
        if process.returncode:
            sys.exit(f"storescu failed:\n{output.decode(errors='replace')[-2000:]}")
    return time.perf_counter() - begun_s


def _when_done(chosen: argparse.Namespace, store: LocalStore, ledger: SqlLedger) -> Findings:
    """What there is when no examination waits for images, no batch for its unpacking and no study for a stage."""
    deadline_s = time.monotonic() + chosen.timeout
    while time.monotonic() < deadline_s:
        found = None if _waits(ledger) else _findings(store, ledger)
        if found and found.current_readings >= chosen.instances:
            return found
        time.sleep(_LOOK_S)
    rows = list(_rows(ledger))
    done = sum(row.state is WorkState.DONE for row in rows)
    sys.exit(f"after {chosen.timeout} s, {done} of {len(rows)} studies are done")


def _waits(ledger: SqlLedger) -> bool:
    examinations = ledger.due_examinations(now_s=math.inf, limit=1)
    batches = ledger.due_batches(now_s=math.inf, due_before_s=math.inf, limit=1)
    return bool(examinations or batches or ledger.open_count())


def _findings(store: LocalStore, ledger: SqlLedger) -> Findings:
    current, superseded, last_s = [], 0, 0.0
    for row in _rows(ledger):
        place = ledger.revision_of(row.study_id, site=_SITE)
        study = ledger.sources(row.study_id, site=_SITE)
        if row.state is not WorkState.DONE or place is None or study is None:
            continue
        last_s = max(last_s, row.finished_at_s or 0.0)
        if place.superseded_by:
            superseded += row.image_count
        else:
            current.append(tuple(image.sha256 for image in study.images))
    kept = sum(1 for _ in store.keys(keys.arrivals_prefix(_SITE)))
    return Findings(kept, tuple(current), superseded, last_s)


def _rows(ledger: SqlLedger) -> Iterator[StudyRow]:
    cursor: str | None = None
    while True:
        page = ledger.studies(site=_SITE, cursor=cursor, limit=200)
        yield from page.rows
        cursor = page.next_cursor
        if cursor is None:
            return


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.dicom", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--instances", type=int, default=500, help="default: %(default)s")
    parser.add_argument("--images", type=int, default=2, help="of a study (default: %(default)s)")
    parser.add_argument("--senders", type=int, default=4, help="at once (default: %(default)s)")
    parser.add_argument("--spread", action="store_true", help="a study's views from different senders, apart in time")
    parser.add_argument("--quiet", type=float, default=5, help="s until a study is complete (default: %(default)s)")
    parser.add_argument("--distinct", type=int, default=10, help="pictures drawn (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=900, help="for the analysis (default: %(default)s s)")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
