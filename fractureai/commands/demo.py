"""``fractureai demo``: the whole service, once, on radiographs it draws itself or on yours."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from fractureai.client import Client
from fractureai.commands.files import Selection, expand, safe_stem, say_left_out
from fractureai.commands.serve import settings_for
from fractureai.commands.submit import follow, outcome_of, send
from fractureai.commands.table import print_results
from fractureai.embedded.service import embedded_service
from fractureai.errors import BrokenDeployment
from fractureai.phantoms.batch import demo_files


@click.command(short_help="See it work, on phantoms or your own files.")
@click.option("--images", type=click.Path(exists=True, path_type=Path), help="Your own file or folder, not phantoms.")
@click.option(
    "--out", "out_dir", type=click.Path(file_okay=False, path_type=Path), default="demo-results", show_default=True,
    help="Leave reports and pictures here.",
)  # fmt: skip
@click.option("--data", "data_dir", type=click.Path(file_okay=False, path_type=Path), help="Keep the data here.")
@click.pass_context
def demo(context: click.Context, images: Path | None, out_dir: Path, data_dir: Path | None) -> None:
    """Start the service, send it a mixed batch over HTTP, show the results, stop it.

    Without --images it draws the batch: DICOM, PNG and JPEG phantoms of intact and broken bones, studies of two
    views, a ZIP, a chest that is out of scope, a damaged file. Phantoms are drawings, not patients.

    Exit code 0: every study ended, as a result or with a reason. 3: something could not be started.
    """
    console = Console()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fractureai-demo-") as scratch:
        folder = images or _draw(Path(scratch) / "phantoms", console)
        chosen = expand([folder]) if images else Selection([(path.name, path) for path in sorted(folder.iterdir())])
        settings = settings_for(data_dir or Path(scratch) / "data", "127.0.0.1", _free_port())
        console.print("Starting Redis, workers and web…")
        with embedded_service(settings, scratch=[Path(scratch)]) as service, Client(service.url) as client:
            console.print(f"The service is at {service.url}; sending {len(chosen.files)} files")
            batches, unsent = send(client, chosen.files, "demo", console)
            follow(client, batches, console, check=service.check)
            results, refused, skipped = outcome_of(client, batches)
            _download(client, results, out_dir)
        _check(results, refused)
    print_results(results, console)
    left_out = [*chosen.left_out, *unsent, *refused]
    say_left_out(
        left_out, Counter(skipped) + Counter(chosen.skipped), partial(console.print, style="dim", markup=False)
    )
    console.print(f"Reports (PDF) and overlays are in [bold]{out_dir.resolve()}[/bold]")
    console.print(f"{len(results)} studies in {time.monotonic() - began:.0f} s, start and stop of the service included")
    context.exit(0)


def _draw(folder: Path, console: Console) -> Path:
    folder.mkdir(parents=True)
    with console.status("Drawing phantoms…"):
        for name, data in demo_files():
            (folder / name).write_bytes(data)
    return folder


def _download(client: Client, results: list[dict[str, Any]], out_dir: Path) -> None:
    out_dir.mkdir(parents=True, exist_ok=True)
    for result in results:
        stem = safe_stem(result["label"], result["study_id"])
        for name, target in _wanted(result, stem):
            (out_dir / target).write_bytes(client.artifact(result["study_id"], name))


def _wanted(result: dict[str, Any], stem: str) -> Iterator[tuple[str, str]]:
    if result["state"] == "done":
        yield "report.pdf", f"{stem}.pdf"
    for image in result["images"]:
        if "overlay" in image["artifacts"]:
            yield f"images/{image['number']}/overlay.jpg", f"{stem}-{image['number']}-overlay.jpg"


def _check(results: list[dict[str, Any]], refused: list[tuple[str, str]]) -> None:
    """A demo that ends without a result, or with a failure of ours, must say so loudly."""
    failed = [result["label"] for result in results if result["state"] == "failed"]
    if failed or not (results or refused):
        raise BrokenDeployment(f"the demo did not read everything; failed: {', '.join(failed) or 'all of it'}")


def _free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
