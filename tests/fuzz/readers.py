"""Everything that reads foreign bytes, each as one function of bytes.

A function returns, whatever it was given, or raises what its caller is promised. Any other error is a finding.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from fractureai.dicom.part10 import Part10Reader
from fractureai.dicom.peers import read_peers
from fractureai.domain.card import ModelCard, parse_card
from fractureai.domain.name_pattern import NamePattern
from fractureai.errors import BrokenDeployment, RejectedInput
from fractureai.imaging import media
from fractureai.imaging.archive import ZipArchiveReader
from fractureai.imaging.deidentify import Replacements, deidentified, identifiers
from fractureai.imaging.dicom import instance_identity, read_dicom
from fractureai.imaging.limits import ArchiveLimits, DecodeLimits
from fractureai.imaging.raster import read_raster
from fractureai.imaging.text import clean
from fractureai.reports.bidi import base_level, levels, visual_order
from fractureai.settings import load_settings
from fractureai.web.multipart import MultipartReader, NotMultipart
from tests.fuzz import answers, child, corpus, listener, provider, web

_LIMITS = DecodeLimits(max_bytes=4 << 20, max_pixels=500_000)
_ARCHIVE_LIMITS = ArchiveLimits(max_members=200, max_unpacked_bytes=8 << 20, max_member_bytes=4 << 20)


@dataclass(frozen=True, slots=True)
class Reader:
    """One reader of foreign bytes."""

    name: str
    read: Callable[[bytes], object]
    seeds: Callable[[], Sequence[bytes]]


def _raster(data: bytes) -> None:
    kind = media.sniff(data[: media.HEAD_BYTES]).media_type
    if kind not in {None, media.DICOM}:
        # A child that runs out of memory says so and is replaced.
        with contextlib.suppress(RejectedInput, MemoryError):
            image = read_raster(data, str(kind), _LIMITS)
            assert image.pixels.ndim == 2, "one grey picture"


def _dicom(data: bytes) -> None:
    with contextlib.suppress(RejectedInput, MemoryError):
        image = read_dicom(data, _LIMITS)
        assert image.pixels.ndim == 2, "one grey picture"
        for text in image.header.to_json().values():
            assert clean(text) == text, "a header's text is one safe line"


def _dicom_study(data: bytes) -> None:
    if (found := instance_identity(data, _LIMITS)) is not None:
        for text in asdict(found).values():
            assert clean(text) == text, "a UID is one safe line"


def _dicom_identity(data: bytes) -> None:
    with contextlib.suppress(RejectedInput), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # as in the service
        found = Part10Reader.identify(io.BytesIO(data), is_whole=True)
        uids = (found.sop_class_uid, found.sop_instance_uid, found.study_instance_uid)
        assert all(re.fullmatch(r"[0-9.]{1,64}", uid) for uid in uids), "a UID is digits and dots"
        assert re.fullmatch(r"[A-Z0-9]{0,16}", found.modality), "a modality is a short word"


def _related(data: bytes) -> None:
    with contextlib.suppress(NotMultipart):
        for part in MultipartReader(io.BytesIO(data), corpus.BOUNDARY):
            assert part.media_type == part.media_type.strip().lower(), "a media type is plain"
            assert sum(map(len, part.chunks)) <= len(data), "a part is no larger than the whole"


class _Counted:
    """A sink that only counts."""

    def __init__(self) -> None:
        self.size_bytes = 0

    def write(self, chunk: bytes) -> int:
        self.size_bytes += len(chunk)
        return len(chunk)


def _archive(data: bytes) -> None:
    path = corpus.scratch() / "sent.zip"
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    reader = ZipArchiveReader(_ARCHIVE_LIMITS)
    if not reader.is_archive(path):
        return
    try:
        members, skipped = reader.members(path)
    except RejectedInput:
        return
    names = [member.name for member in members] + [name for name, _ in skipped]
    assert all(name == clean(name, len(name)) and ".." not in name.split("/") for name in names), "names are safe"
    for member in members:
        sink = _Counted()
        with contextlib.suppress(RejectedInput):
            reader.extract(path, member, sink)  # type: ignore[arg-type]
        assert sink.size_bytes <= _ARCHIVE_LIMITS.max_member_bytes, "a member keeps to its limit"


def _multipart(data: bytes) -> None:
    from werkzeug.exceptions import HTTPException
    from werkzeug.test import EnvironBuilder
    from werkzeug.wrappers import Request

    from fractureai.web.problems import Problem
    from fractureai.web.upload import HashingStore, Limits, Receiver

    kind = f"multipart/form-data; boundary={corpus.BOUNDARY}"
    request: Any = Request(EnvironBuilder("/", method="POST", data=data, content_type=kind).get_environ())
    with (
        contextlib.suppress(Problem, HTTPException),
        Receiver(HashingStore(), lambda number: f"key/{number}", Limits(20, 100_000)) as receiver,
    ):
        receiver.multipart(request, "files")


@cache
def _api() -> tuple[Any, str, str]:
    """A client of a real application, and an open upload with its token."""
    from tests.browser.samples import open_app, open_ports

    client = open_app(open_ports(corpus.scratch() / "web")).test_client()
    begun = client.post("/api/v1/uploads").get_json()
    return client, begun["batch_id"], begun["token"]


def _api_json(data: bytes) -> None:
    client, upload, token = _api()
    headers = {"Upload-Token": token, "Content-Type": "application/json"}
    for address in (f"/api/v1/uploads/{upload}/complete", f"/api/v1/studies/{upload}/verdicts"):
        answer = client.post(address, data=data, headers=headers)
        assert answer.status_code < 500, f"{address}: {answer.status_code}"


def _query(data: bytes) -> None:
    client, upload, _ = _api()
    query = data[:2000].decode("latin-1")
    for address in ("/api/v1/studies", "/api/v1/results", "/studies", f"/api/v1/batches/{upload}"):
        answer = client.get(address, query_string=query.replace("wait", "w"))
        assert answer.status_code < 500, f"{address}: {answer.status_code}"


def _settings(data: bytes) -> None:
    file = corpus.scratch() / "settings.toml"
    file.write_bytes(data)
    os.environ["FRACTUREAI_CONFIG"] = str(file)
    try:
        load_settings()
    except BrokenDeployment:
        return
    finally:
        del os.environ["FRACTUREAI_CONFIG"]


def _peers(data: bytes) -> None:
    file = corpus.scratch() / "peers.toml"
    file.write_bytes(data)
    with contextlib.suppress(BrokenDeployment):
        peers = read_peers(file)
        for caller in peers.caller:
            assert peers.site_of(caller.ae_title or "ANY", "192.0.2.1", default="local") != "", "a site has a name"


def _card(data: bytes) -> None:
    with contextlib.suppress(BrokenDeployment):
        parse_card(data, ModelCard)


def _text(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    cleaned = clean(text)
    assert cleaned == clean(cleaned), "clean is clean"
    assert "\n" not in cleaned, "one line"
    assert sorted(visual_order(levels(cleaned, base_level(cleaned)))) == list(range(len(cleaned))), "no letter is lost"


_REPLACED = Replacements("PATIENT", "PATIENT^NAME", "ACCESSION", {}, days=-3)


def _deidentify(data: bytes) -> None:
    with contextlib.suppress(RejectedInput, MemoryError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in the child
        identifiers(data, _LIMITS)
        left = identifiers(deidentified(data, _REPLACED, _LIMITS), _LIMITS)
        assert left.patient_id in {"", _REPLACED.patient}, "no patient is left"
        assert left.accession_number in {"", _REPLACED.accession}, "no accession is left"


def _pattern(data: bytes) -> None:
    pattern, _, name = data.decode("utf-8", "replace").partition("\n")
    with contextlib.suppress(ValueError):
        study = NamePattern(pattern).study_of(name)
        assert study is None or len(study) <= 2 * len(name), "a study is called by a part of a name"


READERS: tuple[Reader, ...] = (
    Reader("raster", _raster, corpus.raster_seeds),
    Reader("dicom", _dicom, corpus.dicom_seeds),
    Reader("dicom-study", _dicom_study, corpus.dicom_seeds),
    Reader("dicom-identity", _dicom_identity, corpus.dicom_seeds),
    Reader("related", _related, corpus.related_seeds),
    Reader("archive", _archive, corpus.archive_seeds),
    Reader("multipart", _multipart, corpus.multipart_seeds),
    Reader("api-json", _api_json, corpus.json_seeds),
    Reader("query", _query, corpus.query_seeds),
    Reader("settings", _settings, corpus.settings_seeds),
    Reader("peers", _peers, corpus.peers_seeds),
    Reader("card", _card, corpus.card_seeds),
    Reader("text", _text, corpus.text_seeds),
    Reader("association", listener.read, listener.seeds),
    Reader("request", web.read, web.seeds),
    Reader("provider", provider.read, provider.seeds),
    Reader("answers", answers.read, answers.seeds),
    Reader("child", child.read, child.seeds),
    Reader("deidentify", _deidentify, corpus.marked_seeds),
    Reader("pattern", _pattern, corpus.pattern_seeds),
)
