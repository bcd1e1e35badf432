"""intake: the uploads of a batch become studies.

Archives are opened, DICOM files of one examination come together, everything else is a study of one image. What came
along in an archive or a folder and is no image is skipped; a file that was sent for itself is a study, whatever it is.
Ids are derived from the batch, so that an intake that runs twice makes the same studies.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fractureai.domain import keys
from fractureai.domain.contents import DICOM_DIRECTORY, SKIPPED, Content, FoundContent, skipped_kinds
from fractureai.domain.identity import InstanceIdentity
from fractureai.domain.name_pattern import NamePattern
from fractureai.domain.reasons import Reason
from fractureai.domain.records import BatchClaim, Priority
from fractureai.domain.study import Batch, Grouping, SourceImage, Stage, Study, Upload
from fractureai.domain.study_json import batch_from_json, study_to_json
from fractureai.errors import RejectedInput, TransientFailure
from fractureai.stages import tidy
from fractureai.stages.artifacts import read_json, write_json
from fractureai.stages.attempts import Again, GiveUp, after, exhausted, insist, kept
from fractureai.stages.identity import ids_of
from fractureai.stages.order import priority_of
from fractureai.stages.ports import StagePorts

_LOG = logging.getLogger(__name__)

_NAMED = "folder "
_ALL = "all of the batch"
_NAMESPACE = uuid.UUID("7f0a6b1e-5b0e-4d0c-9d55-6a2f6f3f9a11")


@dataclass(frozen=True, slots=True)
class _File:
    """One image of a batch, already under its key in the store; ``group`` is what it shares with its fellows."""

    key: str
    file_name: str
    size_bytes: int
    sha256: str
    group: str
    content: Content
    named: InstanceIdentity | None = None


def run(batch_id: str, ports: StagePorts) -> str:
    """Unpack a batch. Returns ``not_due``, ``done``, ``retry``, ``failed`` or ``lost``."""
    claim = insist(lambda: _claim(batch_id, ports), ports)
    if claim is None:
        return "not_due"
    if claim.attempt > ports.policy.max_attempts:
        return _give_up(claim, ports, exhausted("intake"))
    try:
        with kept(
            lambda until_s: ports.ledger.renew_batch(claim, until_s=until_s),
            ports,
            longest_s=ports.policy.longest_intake_s,
        ):
            studies, left_out = unpack(_whole(claim.batch, ports), ports)
            priority = priority_of(len(studies), ports.policy)
            recorded = insist(
                lambda: ports.ledger.unpacked(claim, studies, left_out, now_s=ports.clock(), priority=priority), ports
            )
    except (Exception, MemoryError) as error:  # one batch's trouble must never end the worker
        if not isinstance(error, TransientFailure):
            _LOG.exception("batch %s: attempt %d failed", batch_id, claim.attempt)
        next_step = after(error, claim, batch_id, where="intake", now_s=ports.clock(), policy=ports.policy)
        if isinstance(next_step, GiveUp):
            return _give_up(claim, ports, next_step.reasons[-1])
        return _again(claim, ports, next_step)
    if not recorded:
        return "lost"
    if priority is Priority.WALK_IN:
        _publish(studies, ports)
    try:
        tidy.clean_batch(claim.batch.site, batch_id, ports.store, ports.ledger)
    except TransientFailure:
        _LOG.warning("batch %s: its uploads are cleaned up later", batch_id)
    return "done"


def _claim(batch_id: str, ports: StagePorts) -> BatchClaim | None:
    now = ports.clock()
    return ports.ledger.claim_batch(batch_id, owner=ports.new_id(), now_s=now, lease_s=ports.policy.lease_s)


def unpack(batch: Batch, ports: StagePorts) -> tuple[list[Study], list[tuple[str, Reason]]]:
    """Bring every image of a batch under a study's key.

    Returns
    -------
    The studies, their documents already in the store, and what was left out: file names with reasons, of which
    :data:`SKIPPED` is the one that is no fault.
    """
    left_out: list[tuple[str, Reason]] = []
    groups: dict[str, list[_File]] = {}
    belongs = _Belonging(batch)
    found = [file for upload in batch.uploads for file in _files(batch, upload, belongs, left_out, ports)]
    for file in _without_viewers(found, left_out):
        groups.setdefault(file.group, []).append(file)
    studies = []
    for group, files in groups.items():
        kept = list({file.sha256: file for file in reversed(files)}.values())[::-1]
        duplicates = [file for file in files if file not in kept]
        left_out += [(file.file_name, Reason("duplicate_file")) for file in duplicates]
        studies.append(_study(batch, group, kept, ports))
    return studies, left_out


def only_study_of(batch_id: str) -> str:
    """The id of the study that a batch with ``Grouping.STUDY`` becomes."""
    return _study_id(batch_id, _ALL)


def _study_id(batch_id: str, group: str) -> str:
    return uuid.uuid5(_NAMESPACE, f"{batch_id} {group}").hex


def _whole(batch: Batch, ports: StagePorts) -> Batch:
    """The batch with its pattern, which only its document has."""
    if batch.grouping is not Grouping.PATTERN:
        return batch
    return batch_from_json(read_json(ports.store, keys.batch_json(batch.site, batch.batch_id)))


def _files(
    batch: Batch, upload: Upload, belongs: _Belonging, left_out: list[tuple[str, Reason]], ports: StagePorts
) -> Iterator[_File]:
    key = keys.batch_upload(batch.site, batch.batch_id, upload.number)
    with ports.store.as_file(key) as path:
        found = ports.archives.content_of(path, upload.file_name)
        if found.kind == DICOM_DIRECTORY or (found.content is Content.NO_IMAGE and "/" in upload.file_name):
            left_out.append((upload.file_name, Reason(SKIPPED, found.kind)))
        elif ports.archives.is_archive(path):
            yield from _members(batch, upload, path, belongs, left_out, ports)
        else:
            named = ports.decoder.identify(path)
            group = belongs.of(named, upload.file_name, upload.sha256)
            yield _File(key, upload.file_name, upload.size_bytes, upload.sha256, group, found.content, named)


def _members(
    batch: Batch,
    upload: Upload,
    path: Path,
    belongs: _Belonging,
    left_out: list[tuple[str, Reason]],
    ports: StagePorts,
) -> Iterator[_File]:
    try:
        members, others = ports.archives.members(path)
    except RejectedInput as error:
        left_out.append((upload.file_name, Reason(error.code, error.detail)))
        return
    left_out += [(f"{upload.file_name}/{name}", reason) for name, reason in others]
    if not members and all(reason.code == SKIPPED for _, reason in others):
        left_out.append((upload.file_name, Reason("no_images")))
    for member in members:
        name = f"{upload.file_name}/{member.name}"
        key = keys.batch_member(batch.site, batch.batch_id, upload.number, member.number)
        sink = ports.store.sink(key)
        try:
            ports.archives.extract(path, member, sink)
            stored = sink.commit()
        except RejectedInput as error:
            left_out.append((name, Reason(error.code, error.detail)))
            continue
        finally:
            sink.abort()
        with ports.store.as_file(key) as member_path:
            named = ports.decoder.identify(member_path)
        group = belongs.of(named, name, stored.sha256)
        yield _File(key, name, stored.size_bytes, stored.sha256, group, member.content, named)


def _without_viewers(files: list[_File], left_out: list[tuple[str, Reason]]) -> Iterator[_File]:
    """The files that are no part of a disc's viewer."""
    indexes = [
        (name, FoundContent(Content.NO_IMAGE, DICOM_DIRECTORY))
        for name, reason in left_out
        if reason == Reason(SKIPPED, DICOM_DIRECTORY)
    ]
    kinds = skipped_kinds([*((file.file_name, FoundContent(file.content)) for file in files), *indexes])
    for file, kind in zip(files, kinds, strict=False):
        if kind and "/" in file.file_name:
            left_out.append((file.file_name, Reason(SKIPPED, kind)))
        else:
            yield file


class _Belonging:
    """What a file of a batch belongs to: its examination, or what the sender sorted by, or itself."""

    def __init__(self, batch: Batch) -> None:
        self._grouping = batch.grouping
        self._pattern = NamePattern(batch.pattern) if batch.grouping is Grouping.PATTERN else None

    def of(self, instance: InstanceIdentity | None, file_name: str, sha256: str) -> str:
        """``instance`` is what a DICOM file names itself."""
        if self._grouping is Grouping.STUDY:
            return _ALL
        if instance is not None and instance.study_instance_uid:
            return instance.study_instance_uid
        named: str | None = None
        if self._pattern is not None:
            named = self._pattern.study_of(file_name)
        elif self._grouping is Grouping.FOLDER:
            folder = str(PurePosixPath(file_name).parent)
            named = None if folder == "." else folder
        return f"sha256 {sha256}" if named is None else f"{_NAMED}{named}"


def _study(batch: Batch, group: str, kept: list[_File], ports: StagePorts) -> Study:
    study_id = _study_id(batch.batch_id, group)
    images = []
    for number, file in enumerate(kept, start=1):
        ports.store.copy(file.key, keys.source(batch.site, study_id, number))
        name = PurePosixPath(file.file_name).name if len(kept) > 1 else file.file_name
        images.append(SourceImage(number, name, file.size_bytes, file.sha256, *ids_of(batch.site, file.named)))
    others = f" and {len(kept) - 1} more" if len(kept) > 1 else ""
    label = f"{kept[0].file_name}{others}"
    if group.startswith(_NAMED):
        label = group.removeprefix(_NAMED)
    elif group == _ALL:
        label = batch.label or label
    study = Study(batch.site, study_id, batch.batch_id, label, batch.accepted_at_s, tuple(images))
    write_json(ports.store, keys.study_json(study.site, study.study_id), study_to_json(study))
    return study


def _publish(studies: list[Study], ports: StagePorts) -> None:
    """Tell the queue at once, best effort: what it does not hear, and all bulk, the reconciler tells it in order."""
    told: list[str] = []
    try:
        for study in studies:
            ports.queue.publish_study(study.study_id, Stage.CLASSIFY, Priority.WALK_IN)
            told.append(study.study_id)
        if told:
            now = ports.clock()
            ports.ledger.published(told, now_s=now, due_again_at_s=now + ports.policy.patience_s)
    except TransientFailure as failure:
        _LOG.warning("%d studies are published later: %s", len(studies) - len(told), failure)


def _again(claim: BatchClaim, ports: StagePorts, again: Again) -> str:
    now = ports.clock()
    _LOG.warning("batch %s: %s; again in %.0f s", claim.batch.batch_id, again.reason.code, again.due_at_s - now)
    insist(
        lambda: ports.ledger.retry_batch(claim, now_s=now, due_at_s=again.due_at_s, counts=again.counts),
        ports,
    )
    return "retry"


def _give_up(claim: BatchClaim, ports: StagePorts, reason: Reason) -> str:
    _LOG.error("batch %s: given up: %s", claim.batch.batch_id, reason)
    closed = insist(lambda: ports.ledger.fail_batch(claim, reason, now_s=ports.clock()), ports)
    return "failed" if closed else "lost"
