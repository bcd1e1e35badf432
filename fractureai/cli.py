"""The command line. Each command lives in its own module; this one puts them under one roof."""

from __future__ import annotations

import io
import signal
import sys
from types import FrameType

import click

from fractureai.commands.lazy import Lazy, LazyGroup
from fractureai.errors import AT_FAULT, AWAY, BrokenDeployment, RejectedInput, TransientFailure

_COMMANDS = {
    "serve": Lazy("fractureai.commands.serve", "serve", "Start everything on this machine."),
    "worker": Lazy("fractureai.commands.worker", "worker", "Start one worker, to scale by role and machine."),
    "status": Lazy("fractureai.commands.status", "status", "Show what runs, what waits and what is broken."),
    "analyze": Lazy("fractureai.commands.analyze", "analyze", "Read files here and now, without a service."),
    "submit": Lazy("fractureai.commands.submit", "submit", "Send files to a running service."),
    "watch": Lazy("fractureai.commands.watch", "watch", "Take what others put into a folder."),
    "pseudonyms": Lazy("fractureai.commands.pseudonyms", "pseudonyms", "Whose a pseudonym is."),
    "demo": Lazy("fractureai.commands.demo", "demo", "See it work, on phantoms or your own files."),
    "web": Lazy("fractureai.commands.web", "web", "Start the web process alone."),
    "migrate": Lazy("fractureai.commands.migrate", "migrate", "Bring ledger and store up to date, before a start."),
    "dicom": Lazy("fractureai.commands.dicom", "dicom", "Receive images and send results by DICOM."),
    "recover": Lazy("fractureai.commands.recover", "recover", "Have everything open tried again now."),
    "rebuild": Lazy("fractureai.commands.rebuild", "rebuild", "Make a lost ledger anew from the store."),
    "keys": Lazy("fractureai.commands.keys", "keys", "Keys for programs: create, list, revoke."),
    "accounts": Lazy("fractureai.commands.accounts", "accounts", "People with a password here: add, list, remove."),
    "audit": Lazy("fractureai.commands.audit", "audit", "Who did and saw what: verify, export, seal."),
    "retention": Lazy("fractureai.commands.retention", "retention", "How long studies are kept: run, hold, release."),
    "patients": Lazy("fractureai.commands.retention", "patients", "Delete one patient's studies, with proof."),
    "models": Lazy("fractureai.commands.models", "models", "The models at hand: list, verify, calibrate."),
    "train": Lazy("fractureai.training.train_commands", "train", "Train a model (needs the extra `train`)."),
    "evaluate": Lazy("fractureai.training.evaluation_commands", "evaluate", "Measure models (extra `train`)."),
}


@click.group(
    cls=LazyGroup,
    lazy=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 all well; 1 some studies were rejected or failed; 2 wrong usage; 3 the installation is at "
    "fault; 4 a service is away, try again; 128 + n ended by signal n. Not for diagnostic use.",
)
@click.version_option(package_name="fractureai")
def cli() -> None:
    """Read limb radiographs: region, fracture probability, attention map, report.

    Start with `fractureai demo`, which draws its own radiographs, or `fractureai analyze FILE`. A hospital runs
    `fractureai serve` and sends files to it by browser, API or `fractureai submit`.
    """


def main() -> None:
    """Run the command line; an error of ours becomes one sentence and an exit code, never a traceback."""
    _unwind_on_signals()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal has no letters for must not end the work.
            stream.reconfigure(errors="backslashreplace")
    try:
        cli(standalone_mode=True)
    except RejectedInput as error:
        _fail(error.detail or str(error), 1)
    except BrokenDeployment as error:
        _fail(str(error), AT_FAULT)
    except TransientFailure as error:
        _fail(str(error), AWAY)


def _unwind_on_signals() -> None:
    """Have signals raise an exception, so that processes are stopped and temporary copies of images are removed.

    What is ignored stays ignored, as under ``nohup``.
    """

    def unwind(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    for name in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(name) is not signal.SIG_IGN:
            signal.signal(name, unwind)


def _fail(message: str, code: int) -> None:
    click.echo(f"fractureai: {message}", err=True)
    sys.exit(code)
