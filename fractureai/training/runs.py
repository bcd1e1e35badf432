"""The run folder: configuration, seed, revision of the code, curves; enough to repeat a training and to look at it."""

from __future__ import annotations

import csv
import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fractureai.errors import BrokenDeployment

CONFIG, STATE, LOG, CURVES, WEIGHTS = "config.json", "state.json", "log.csv", "curves.png", "weights.h5"


class RunFolder:
    """A folder of one training run.

    Opening it again with the same configuration resumes the run; with another one it is refused, because curves and
    weights would no longer belong together.

    Raises
    ------
    BrokenDeployment
        If the folder holds a run of another configuration.
    """

    def __init__(self, path: Path, config: Mapping[str, Any]) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        wanted = json.loads(json.dumps(config))
        if (path / CONFIG).is_file():
            found = json.loads((path / CONFIG).read_text(encoding="utf-8"))
            differing = sorted(name for name in wanted.keys() | found["settings"].keys()
                               if wanted.get(name) != found["settings"].get(name))  # fmt: skip
            if differing:
                raise BrokenDeployment(f"{path} holds a run with other settings ({', '.join(differing)}); name another")
            return
        record = {"settings": wanted, "git_revision": git_revision(), "python": platform.python_version(),
                  "packages": _packages(), "command": sys.argv[1:]}  # fmt: skip
        write_whole(path / CONFIG, json.dumps(record, indent=2) + "\n")

    @property
    def settings(self) -> dict[str, Any]:
        """What the run was begun with, as plain JSON values."""
        settings: dict[str, Any] = json.loads((self.path / CONFIG).read_text(encoding="utf-8"))["settings"]
        return settings

    @property
    def state(self) -> dict[str, Any]:
        """What :meth:`remember` wrote last; empty for a new run."""
        path = self.path / STATE
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def remember(self, **values: Any) -> None:
        """Add to the state; a kill leaves the old or the new one, never half."""
        write_whole(self.path / STATE, json.dumps(self.state | values) + "\n")

    def log(self, row: Mapping[str, Any]) -> None:
        """Append a row to ``log.csv``, whose columns are those of the first row, and draw the curves anew."""
        path = self.path / LOG
        columns = list(self.rows()[0]) if self.rows() else list(row)
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
            if not file.tell():
                writer.writeheader()
            writer.writerow(row)
        self.draw_curves()

    def draw_curves(self) -> None:
        """Draw every column of ``log.csv`` over its rows into ``curves.png``; losses and the rest apart."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        rows = self.rows()
        if not rows:
            return
        figure = Figure(figsize=(9, 4), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, wanted in zip(figure.subplots(1, 2), (True, False), strict=True):
            for name in rows[0]:
                if name not in ("epoch", "phase", "learning_rate") and ("loss" in name) == wanted:
                    axes.plot([_number(row[name]) for row in rows], label=name)
            axes.set_xlabel("epoch")
            axes.set_title("loss" if wanted else "measures")
            axes.legend(fontsize=7)
        figure.savefig(self.path / CURVES, dpi=110)

    def rows(self) -> list[dict[str, str]]:
        """What was logged so far, oldest first."""
        path = self.path / LOG
        if not path.is_file():
            return []
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))


def described(path: Path) -> dict[str, Any]:
    """What a card repeats of a run, and its ``state``; no command line, which may hold paths of the machine.

    Raises
    ------
    BrokenDeployment
        If the folder holds no run.
    """
    if not (path / CONFIG).is_file():
        raise BrokenDeployment(f"{path} holds no training run")
    config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    state = json.loads((path / STATE).read_text(encoding="utf-8")) if (path / STATE).is_file() else {}
    return {name: value for name, value in config.items() if name != "command"} | {"state": state}


def git_revision() -> str:
    """The revision of the code, with a ``+`` if the tree has changes; ``unknown`` outside a checkout."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True)  # noqa: S607
        changed = subprocess.run(["git", "status", "--porcelain"], cwd=here, capture_output=True, text=True, check=True)  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def write_whole(path: Path, text: str) -> None:
    """Write so that a reader, or a restart after a kill, finds the old text or the new one."""
    scratch = path.with_name(path.name + ".part")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)


def _packages() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("keras", "tensorflow-cpu", "tensorflow", "jax", "torch", "numpy", "opencv-python-headless"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
