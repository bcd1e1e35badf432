"""``python -m tests.fuzz [READER…] --minutes N``: hunt for longer, each reader in a process of its own."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.fuzz.hunt import Finding, Slate, hunt_here, keep
from tests.fuzz.readers import READERS, Reader

# Of processor time without a next input: a busy machine is no hang.
_HANG_CPU_S = 30.0
_START_S = 120.0


def main() -> int:
    """Hunt, and say what was found; 1 if anything was."""
    options = _options()
    by_name = {reader.name: reader for reader in READERS}
    chosen = [by_name[name] for name in options.readers] or list(READERS)
    folder: Path = options.out or Path(tempfile.mkdtemp(prefix="fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    if options.inside:
        hunt_here(chosen[0], folder, seconds=options.minutes * 60, seed=options.seed)
        return 0
    tallies = {}
    for reader in chosen:
        executions, spent_s = _watch(reader, folder, options.minutes * 60, options)
        tallies[reader.name] = {"executions": executions, "cpu_minutes": round(spent_s / 60, 1)}
        print(f"{reader.name:14} {executions:>9,} executions in {spent_s / 60:.1f} min of processor time", flush=True)
    found = sorted(folder.glob("*.txt"))
    (folder / "tally.json").write_text(json.dumps(tallies, indent=1))
    for file in found:
        print(f"\n{file.with_suffix('.input')}\n{file.read_text()}")
    print(f"\n{len(found)} findings, {options.engine}, seed {options.seed}, in {folder}")
    return int(bool(found))


def _options() -> argparse.Namespace:
    guided = importlib.util.find_spec("atheris") is not None
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", choices=[[], *(reader.name for reader in READERS)], metavar="READER")
    parser.add_argument("--minutes", type=float, default=10.0, help="of processor time, of each reader")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="where findings and the grown corpus go")
    parser.add_argument("--engine", choices=["atheris", "plain"], default="atheris" if guided else "plain")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _watch(reader: Reader, folder: Path, seconds: float, options: argparse.Namespace) -> tuple[int, float]:
    """Keep a hunting process going for so much processor time; returns executions and seconds of it.

    Crashes and hangs are findings.
    """
    begun_s, executions, seed = _cpu_of_ended_s(), 0, options.seed
    while (left_s := seconds - (_cpu_of_ended_s() - begun_s)) > 1:
        slate_file = folder / f"{reader.name}.slate"
        slate_file.unlink(missing_ok=True)
        slate = Slate(slate_file)
        with _hunter(reader, folder, left_s, seed, options.engine) as process:
            fate = _fate(process, slate, left_s + _START_S + _HANG_CPU_S)
        count, latest = slate.read()
        executions += count
        if fate:
            keep(Finding(reader.name, f"{fate}\n{latest[:40]!r}", latest), folder)
        seed += 1
    return executions, _cpu_of_ended_s() - begun_s


def _fate(process: subprocess.Popen[bytes], slate: Slate, longest_s: float) -> str:
    """Wait for the process to end; ``""`` if it ended well."""
    end = time.monotonic() + longest_s
    before, moved_cpu_s = -1, 0.0
    while process.poll() is None:
        time.sleep(0.5)
        (count, _), cpu_s = slate.read(), _cpu_s(process.pid)
        if count != before:
            before, moved_cpu_s = count, cpu_s
        if count > 0 and cpu_s - moved_cpu_s > _HANG_CPU_S:
            return "HANG"
        if time.monotonic() > end:
            return ""
    return f"CRASH {process.returncode}" if process.returncode else ""


def _cpu_of_ended_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _cpu_s(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


@contextlib.contextmanager
def _hunter(reader: Reader, folder: Path, seconds: float, seed: int, engine: str) -> Iterator[subprocess.Popen[bytes]]:
    plain = ["tests.fuzz", reader.name, "--inside", "--minutes", str(seconds / 60), "--seed", str(seed)]
    guided = ["tests.fuzz.guided", reader.name, str(seconds), str(seed), str(folder)]
    words = guided if engine == "atheris" else [*plain, "--out", str(folder)]
    command = [sys.executable, "-m", *words]
    with (folder / f"{reader.name}.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
