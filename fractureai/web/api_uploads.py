"""The API of uploads that are sent file by file: interrupted at any moment, gone on with after a reload."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify, request

from fractureai.domain.study import Upload
from fractureai.web import accept, receipts
from fractureai.web.api import Accepted, accepted
from fractureai.web.api_blueprint import bp
from fractureai.web.context import link, site, web
from fractureai.web.header_parameters import parse_header
from fractureai.web.problems import Problem
from fractureai.web.representations import batch_accepted, moment
from fractureai.web.sorting import sorting_of
from fractureai.web.upload import drain, file_name_of

_NOT_IN_ADDRESSES = (
    "A file's name does not belong in the address. Send it as a header: "
    "Content-Disposition: attachment; filename*=UTF-8''NAME, percent-encoded."
)


@bp.post("/uploads")
def begin_upload() -> tuple[Response, int]:
    """Begin a batch that is sent file by file."""
    accept.refuse_when_busy(request)
    ports = web().ports
    batch_id = ports.new_id()
    ports.ledger.begin_upload(batch_id, site=site(), now_s=ports.clock())
    body = {
        "batch_id": batch_id,
        "token": receipts.upload_token(batch_id),
        "upload_url": link("api.upload", batch_id=batch_id),
        "files_url": link("api.upload_file", batch_id=batch_id, number=1).removesuffix("1"),
        "complete_url": link("api.complete_upload", batch_id=batch_id),
        "max_files": web().settings.max_upload_files,
        "max_file_bytes": web().settings.max_file_bytes,
    }
    return jsonify(body), 201


@bp.get("/uploads/<id:batch_id>")
def upload(batch_id: str) -> dict[str, Any]:
    """Which files have arrived, with their receipts: what a sender that was interrupted need not send again."""
    _check_token(batch_id)
    known = web().ports.ledger.open_upload(batch_id, site=site())
    if known is not None:
        files = [_receipt(batch_id, file) for file in known.arrived]
        return {"batch_id": batch_id, "state": "open", "begun_at": moment(known.begun_at_s), "files": files}
    row = web().ports.ledger.batch(batch_id, site=site())
    if row is None:
        raise Problem("not_found", accept.EXPIRED)
    return {
        **batch_accepted(batch_id, row.upload_count),
        "state": "complete",
        "begun_at": moment(row.accepted_at_s),
        "files": [],
    }


@bp.put("/uploads/<id:batch_id>/files/<int:number>")
def upload_file(batch_id: str, number: int) -> Response:
    """Take one file, the body of the request; sending it again replaces it."""
    _check_token(batch_id)
    most = web().settings.max_upload_files
    if not 1 <= number <= most:
        raise Problem("too_many_files", f"At most {most} in one upload.")
    if web().ports.ledger.batch(batch_id, site=site()) is not None:
        raise Problem("already_complete")
    return jsonify(_receipt(batch_id, accept.receive_upload(request, batch_id, number, _file_name())))


def _file_name() -> str:
    """What the sender calls the file: in a header, for addresses end in logs, and the name may be a patient's."""
    if "name" in request.args:
        drain(request)
        raise Problem("bad_parameter", _NOT_IN_ADDRESSES)
    said = request.headers.get("Content-Disposition", "").encode("latin-1", "replace")
    return file_name_of(parse_header(said.decode("utf-8", "surrogateescape"))) or ""


@bp.post("/uploads/<id:batch_id>/complete")
def complete_upload(batch_id: str) -> Accepted:
    """Accept the files whose receipts are given as a batch."""
    body = json_object()
    given = body.get("receipts")
    if not isinstance(given, list) or not all(isinstance(entry, str) for entry in given):
        raise Problem("bad_parameter", "“receipts” must be a list of receipts.")
    label = body.get("label", "")
    if not isinstance(label, str):
        raise Problem("bad_parameter", "“label” must be text.")
    sorting = sorting_of(body)
    if not given:
        raise Problem("no_images")
    uploads = receipts.read_receipts(batch_id, given)
    row = web().ports.ledger.batch(batch_id, site=site())
    if row is None:
        accept.complete_upload(batch_id, accept.label_of(label), uploads, sorting)
    elif row.upload_count != len(uploads):
        raise Problem("already_complete")
    # The same completion again is one whose answer was lost on the way: it gets the same answer.
    return accepted(batch_accepted(batch_id, len(uploads)))


def json_object() -> dict[str, Any]:
    """The body of the request, a JSON object."""
    if request.mimetype != "application/json":
        raise Problem("unsupported_media_type", "Send application/json.")
    try:
        body = request.get_json(silent=True)
    except RecursionError:  # of brackets without end
        body = None
    if not isinstance(body, dict):
        raise Problem("bad_request", "The body must be a JSON object.")
    return body


def _check_token(batch_id: str) -> None:
    receipts.check_upload_token(batch_id, request.headers.get("Upload-Token", ""))


def _receipt(batch_id: str, upload: Upload) -> dict[str, Any]:
    return {
        "number": upload.number,
        "file": upload.file_name,
        "size_bytes": upload.size_bytes,
        "sha256": upload.sha256,
        "receipt": receipts.receipt(batch_id, upload),
    }
