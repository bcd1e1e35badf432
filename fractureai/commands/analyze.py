"""``fractureai analyze``: the whole job in one process, without a queue."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.progress import track

from fractureai.bootstrap import Deployment
from fractureai.client import BY_FILE, Sorting
from fractureai.commands.file_tree import why
from fractureai.commands.files import expand, group_option, paths_argument, safe_stem, say_left_out, sorting_of
from fractureai.commands.table import exit_code, print_results
from fractureai.domain import keys
from fractureai.domain.contents import SKIPPED
from fractureai.domain.ports import ObjectStore
from fractureai.domain.reasons import Reason
from fractureai.domain.result import StudyResult
from fractureai.domain.study import Batch, Grouping, Study, Upload
from fractureai.errors import RejectedInput
from fractureai.logs import configure_logging
from fractureai.settings import ReportsGroup, Settings, StoreSettings, load_settings
from fractureai.stages import inline, intake

_COPY_BYTES = 1 << 20
_NAMESPACE = uuid.UUID("0d1c6f0a-3f63-4c62-9d0e-27e1b7f6a5c2")


@click.command(short_help="Read files here and now, without a service.")
@paths_argument
@click.option(
    "--out", "out_dir", type=click.Path(file_okay=False, path_type=Path), help="Leave PDFs and pictures here."
)
@click.option("--dicom", "with_dicom", is_flag=True, help="With --out: DICOM results too, for DICOM input.")
@group_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line and study instead of a table.")
@click.pass_context
def analyze(
    context: click.Context,
    paths: tuple[Path, ...],
    out_dir: Path | None,
    group: str,
    *,
    with_dicom: bool,
    as_json: bool,
) -> None:
    """Analyze radiographs in this process and print what was found.

    Takes DICOM, PNG, JPEG, TIFF and WebP files, ZIP archives and folders of them. DICOM files of one examination
    (StudyInstanceUID) are one study, any other file is a study of its own unless --group says otherwise.

    Exit code 0: every study was read. 1: some were rejected or failed; the table says why.
    """
    if with_dicom and not out_dir:
        raise click.UsageError("--dicom needs --out: the folder the DICOM results go to")
    sorting = sorting_of(group)
    selection = expand(paths)
    configure_logging(level="ERROR")
    with tempfile.TemporaryDirectory(prefix="fractureai-") as folder:
        deployment = Deployment(settings_for_folder(Path(folder), dicom=with_dicom))
        deployment.models.check()
        try:
            studies, left_out = unpack(selection.files, deployment, sorting)
            results = []
            for study, result in _analyzed(studies, deployment, quiet=as_json):
                if out_dir:
                    export(study, result, deployment.store, out_dir)
                results.append(result.to_json())
                if as_json:
                    click.echo(json.dumps(result.to_json(), ensure_ascii=False))
        finally:
            deployment.decoder.close()
    if not as_json:
        print_results(results, Console())
    skipped = Counter(reason.detail for _, reason in left_out if reason.code == SKIPPED) + Counter(selection.skipped)
    unread = [(name, reason.sentence) for name, reason in left_out if reason.code != SKIPPED]
    say_left_out([*selection.left_out, *unread], skipped, partial(click.echo, err=True))
    if out_dir and not as_json:
        click.echo(f"Reports and pictures are in {out_dir}/")
    context.exit(exit_code(results) or int(not results or bool(selection.left_out)))


def unpack(
    files: list[tuple[str, Path]], deployment: Deployment, sorting: Sorting = BY_FILE
) -> tuple[list[Study], list[tuple[str, Reason]]]:
    """Bring files into the store as one batch and make studies of it, as the intake task does.

    Returns
    -------
    The studies, and the files left out with the reason, of which :data:`SKIPPED` is no fault.
    """
    digest = hashlib.sha256(repr(files).encode("utf-8", "surrogateescape")).hexdigest()
    batch_id = uuid.uuid5(_NAMESPACE, digest).hex
    uploads = []
    left_out: list[tuple[str, Reason]] = []
    for number, (name, path) in enumerate(files, start=1):
        sink = deployment.store.sink(keys.batch_upload("local", batch_id, number))
        try:
            for chunk in _chunks(path):
                sink.write(chunk)
            stored = sink.commit()
        except RejectedInput as error:
            left_out.append((name, Reason(error.code, error.detail)))
            continue
        finally:
            sink.abort()
        uploads.append(Upload(number, name, stored.size_bytes, stored.sha256))
    grouping = Grouping(sorting.grouping)
    label = "" if grouping is Grouping.STUDY else "command line"
    batch = Batch("local", batch_id, label, time.time(), tuple(uploads), grouping, sorting.pattern)
    studies, others = intake.unpack(batch, deployment)
    return studies, left_out + others


def _chunks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_COPY_BYTES):
                yield chunk
    except OSError as error:
        raise RejectedInput("file_unreadable", why(error)) from error


def export(study: Study, result: StudyResult, store: ObjectStore, out_dir: Path) -> None:
    """Copy report, pictures and DICOM results out of the store, under names a person can read."""
    out_dir.mkdir(parents=True, exist_ok=True)
    stem = safe_stem(study.label, study.study_id)
    wanted = {f"{stem}.pdf": keys.report_pdf(study.site, study.study_id)}
    for image in result.images:
        if "overlay" in image.artifacts:
            wanted[f"{stem}-{image.number}-overlay.jpg"] = keys.overlay_jpg(study.site, study.study_id, image.number)
    for entry in result.dicom_objects:
        wanted[f"{stem}-{entry.name}.dcm"] = keys.dicom_object(study.site, study.study_id, entry.name)
    for name, key in wanted.items():
        if store.size_bytes(key) is not None:
            (out_dir / name).write_bytes(store.get(key))
    (out_dir / f"{stem}.json").write_text(json.dumps(result.to_json(), ensure_ascii=False, indent=2), encoding="utf-8")


def _analyzed(studies: list[Study], deployment: Deployment, *, quiet: bool) -> Iterator[tuple[Study, StudyResult]]:
    progress = studies if quiet else track(studies, "Reading", console=Console(stderr=True), transient=True)
    for study in progress:
        yield study, inline.analyze(study, deployment, among=studies)


def settings_for_folder(folder: Path, *, dicom: bool) -> Settings:
    """Everything in a folder of its own."""
    return load_settings(data_dir=folder, store=StoreSettings(path=folder / "store"), reports=ReportsGroup(dicom=dicom))
