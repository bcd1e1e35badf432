"""``python -m bench.dicom``: how many images the whole service takes by C-STORE and analyses; dcmtk sends them.

Starts `fractureai serve` with its listener, sends instances of many studies from several senders at once, each twice
over in a second round, and counts in ledger and store that each was taken and analysed once.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import generate_uid

from bench import workload
from fractureai.commands.serve import settings_for
from fractureai.embedded.service import embedded_service
from fractureai.storage.ledger.sql import SqlLedger

_CACHE = Path(__file__).resolve().parent.parent / ".cache" / "bench"
_PORTS = 18_000, 18_104


def main() -> None:
    """Entry point."""
    chosen = _arguments()
    if not shutil.which("storescu"):
        sys.exit("bench.dicom needs dcmtk's storescu (Debian's package dcmtk)")
    with tempfile.TemporaryDirectory(prefix="dicom-", ignore_cleanup_errors=True) as scratch:
        folders = _prepare(chosen, Path(scratch) / "files")
        os.environ |= {
            "FRACTUREAI_DICOM__PORT": str(_PORTS[1]),
            "FRACTUREAI_DICOM__QUIET_S": "3",
            "FRACTUREAI_WORK__RECONCILE_EVERY_S": "1",
        }
        with embedded_service(settings_for(Path(scratch) / "data", "127.0.0.1", _PORTS[0])):
            figures = _measure(chosen, folders, Path(scratch) / "data" / "ledger.sqlite")
    print(json.dumps(figures, indent=1))
    if figures["kept"] != chosen.instances or figures["analysed_images"] != chosen.instances:
        sys.exit("some instances were lost or taken twice")


def _prepare(chosen: argparse.Namespace, folder: Path) -> list[Path]:
    """``chosen.instances`` files in a folder for each sender; so many to a study."""
    drawn = workload.files(min(chosen.instances, chosen.distinct), 1, _CACHE / "phantoms")
    folders = [folder / str(number) for number in range(chosen.senders)]
    for each in folders:
        each.mkdir(parents=True)
    study = ""
    for number in range(chosen.instances):
        if number % chosen.images == 0:
            study = generate_uid()
        dataset = dcmread(drawn[number % len(drawn)])
        dataset.StudyInstanceUID, dataset.SOPInstanceUID = study, generate_uid()
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(folders[number % chosen.senders] / f"{number}.dcm")
    return folders


def _measure(chosen: argparse.Namespace, folders: list[Path], ledger_file: Path) -> dict[str, float]:
    size_bytes = sum(file.stat().st_size for folder in folders for file in folder.iterdir())
    begun_s = time.perf_counter()
    _send(folders)
    taken_s = time.perf_counter() - begun_s
    again_s = time.perf_counter()
    _send(folders)
    again_s = time.perf_counter() - again_s
    ledger = SqlLedger.open(f"sqlite:///{ledger_file}")
    studies = -(-chosen.instances // chosen.images)
    deadline_s = time.monotonic() + chosen.timeout
    while True:
        rows, cursor = [], None
        while not rows or cursor:
            page = ledger.studies(site="local", cursor=cursor, limit=200)
            rows += page.rows
            cursor = page.next_cursor
            if not page.rows:
                break
        if len(rows) >= studies and not any(row.state.value == "open" for row in rows):
            break
        if time.monotonic() > deadline_s:
            sys.exit(f"only {len(rows)} of {studies} studies after {chosen.timeout} s")
        time.sleep(0.5)
    all_s = time.perf_counter() - begun_s
    ledger.close()
    return {
        "instances": chosen.instances,
        "megabytes": round(size_bytes / 1e6, 1),
        "senders": chosen.senders,
        "received_per_s": round(chosen.instances / taken_s, 1),
        "megabytes_per_s": round(size_bytes / 1e6 / taken_s, 1),
        "received_again_per_s": round(chosen.instances / again_s, 1),
        "studies": len(rows),
        "kept": sum(row.image_count for row in rows),
        "analysed_images": sum(row.image_count for row in rows if row.state.value == "done"),
        "analysed_per_s": round(chosen.instances / all_s, 2),
        "load_average": round(os.getloadavg()[0], 1),
    }


def _send(folders: list[Path]) -> None:
    command = ["storescu", "-aet", "BENCH", "+sd", "127.0.0.1", str(_PORTS[1])]
    senders = [
        subprocess.Popen([*command, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for folder in folders
    ]
    for sender in senders:
        output, _ = sender.communicate()
        if sender.returncode:
            sys.exit(f"storescu failed:\n{output.decode(errors='replace')[-2000:]}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.dicom", description=__doc__)
    parser.add_argument("--instances", type=int, default=500, help="default: %(default)s")
    parser.add_argument("--images", type=int, default=2, help="of a study (default: %(default)s)")
    parser.add_argument("--senders", type=int, default=4, help="at once (default: %(default)s)")
    parser.add_argument("--distinct", type=int, default=10, help="pictures drawn (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=900, help="for the analysis (default: %(default)s s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
