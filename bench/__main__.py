"""``python -m bench``: the service, the same stages in one process, and a plain web handler, side by side."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from bench import rounds, subjects, table, targets, workload
from bench.figures import summary

_ROOT = Path(__file__).resolve().parent.parent
_CACHE = _ROOT / ".cache" / "bench"
_STARTERS = {"a": subjects.service, "b": subjects.in_process, "c": subjects.handler}
_TITLES = {"a": targets.SERVICE, "b": targets.IN_PROCESS, "c": targets.HANDLER}


def main() -> None:
    """Entry point."""
    chosen = _arguments()
    files = workload.files(chosen.studies, chosen.seed, _CACHE / "phantoms")
    loads = os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="run-", dir=_CACHE) as scratch, contextlib.ExitStack() as running:
        started = {}
        models_dir = open_scope(_ROOT / "models", Path(scratch) / "models")
        for letter in chosen.only:
            say(f"starting the {_TITLES[letter]}")
            folder = Path(scratch) / letter
            folder.mkdir()
            started[_TITLES[letter]] = running.enter_context(_STARTERS[letter](subjects.Place(folder, models_dir)))
        plan = rounds.Plan(files, chosen.rounds, chosen.senders, chosen.seed)
        tallies = rounds.measure(started, plan, say)
    figures = {name: summary(tally) for name, tally in tallies.items()}
    judged = targets.judge(figures)
    show(figures, judged)
    document = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine() | {"load_before": loads},
        "models": model_versions(),
        "options": {"studies": chosen.studies, "rounds": chosen.rounds, "senders": chosen.senders,
                    "seed": chosen.seed, "size_px": [workload.HEIGHT_PX, workload.WIDTH_PX]},
        "subjects": figures,
        "targets": judged,
    }  # fmt: skip
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    chosen.json.write_text(json.dumps(_rounded(document), indent=1) + "\n")
    print(f"\nwritten to {chosen.json}")


def open_scope(models_dir: Path, folder: Path) -> Path:
    """The models, with a region card that holds everything for a limb: every study shall go the whole way."""
    for network in models_dir.glob("*/network.json"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / network.parent.name).symlink_to(network.parent)
    for source in models_dir.glob("*/card.json"):
        target = folder / source.parent.name
        target.mkdir(parents=True)
        for file in source.parent.iterdir():
            (target / file.name).symlink_to(file)
        card = json.loads(source.read_text())
        if card.get("scope"):
            card["scope"] |= {"threshold": -1e9, "min_region_probability": 1e-6}
            (target / "card.json").unlink()
            (target / "card.json").write_text(json.dumps(card))
    return folder


def show(figures: dict[str, dict[str, Any]], judged: list[dict[str, Any]]) -> None:
    """Print every table."""
    print(f"\n{table.side_by_side(figures)}")
    for name, each in figures.items():
        print(f"\n{name}, by process\n{table.by_process(each)}")
        if each["cpu_s_per_study_by_step"]:
            print(f"\n{name}, by step\n{table.by_step(each)}")
    if judged:
        print(f"\n{table.targets(judged)}")


def machine() -> dict[str, Any]:
    """What it ran on."""
    revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=_ROOT, capture_output=True, text=True)
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "revision": revision.stdout.strip(),
    }


def model_versions() -> dict[str, str]:
    """Versions of the models that were measured with."""
    cards = (json.loads(path.read_text()) for path in sorted(_ROOT.glob("models/*/card.json")))
    return {card["name"]: card["version"] for card in cards}


def say(text: str) -> None:
    """Progress, apart from the results."""
    print(text, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--studies", type=int, default=100, help="for each subject (default: %(default)s)")
    parser.add_argument("--only", default="a,b,c", help="a: service, b: in process, c: handler (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="take turns so often (default: %(default)s)")
    parser.add_argument("--senders", type=int, default=16, help="studies on their way at once (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of phantoms and order (default: %(default)s)")
    parser.add_argument(
        "--json", type=Path, default=_CACHE / "figures.json", help="written here (default: %(default)s)"
    )
    chosen = parser.parse_args()
    chosen.only = [letter.strip() for letter in chosen.only.split(",")]
    if chosen.studies < 1 or chosen.rounds < 1 or chosen.senders < 1 or not set(chosen.only) <= set(_STARTERS):
        parser.error("studies, rounds and senders are at least 1; --only takes a, b and c")
    return chosen


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, (list, tuple)) else value


if __name__ == "__main__":
    main()
