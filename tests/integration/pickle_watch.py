"""Watches every Python process of a service for pickles: what ``sitecustomize`` runs in each of them at its start."""

from __future__ import annotations

from pathlib import Path

_SITECUSTOMIZE = """
import os, sys

_FILE = os.path.join({folder!r}, "process-%d")

def _told(event, args):
    if event == "pickle.find_class":
        with open(_FILE % os.getpid(), "a") as file:
            file.write("%s.%s\\n" % args)

with open(_FILE % os.getpid(), "a") as file:
    file.write("started: %s\\n" % " ".join(sys.orig_argv))
sys.addaudithook(_told)
"""


def watching(folder: Path) -> dict[str, str]:
    """The environment that makes processes write into ``folder``: their command, then each class a pickle asks for."""
    (folder / "sitecustomize.py").write_text(_SITECUSTOMIZE.format(folder=str(folder)))
    return {"PYTHONPATH": str(folder)}


def seen(folder: Path) -> dict[int, tuple[str, set[str]]]:
    """By process: its command (a fork has its parent's, ``""`` here), and the classes that pickles asked for."""
    found = {}
    for file in folder.glob("process-*"):
        lines = file.read_text().splitlines()
        command = next((line.removeprefix("started: ") for line in lines if line.startswith("started: ")), "")
        classes = {line for line in lines if not line.startswith("started: ")}
        found[int(file.name.removeprefix("process-"))] = (command, classes)
    return found
