"""A study's files, streamed out of the store."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from http import HTTPStatus

from flask import Response, request
from werkzeug.wsgi import wrap_file

from fractureai.domain import keys
from fractureai.web.context import site, web
from fractureai.web.problems import Problem

_KEYS: dict[str, tuple[Callable[[str, str, int], str], str]] = {
    "image.png": (keys.image_png, "image/png"),
    "heat.png": (keys.heat_png, "image/png"),
    "overlay.jpg": (keys.overlay_jpg, "image/jpeg"),
    "roi.png": (keys.roi_png, "image/png"),
}
_BUFFER_BYTES = 64 * 1024


def send_picture(study_id: str, number: int, picture: str) -> Response:
    """One picture of one image."""
    found = _KEYS.get(picture)
    if found is None or not 1 <= number <= 99_999:
        raise Problem("not_found")
    key_of, media_type = found
    return _send(key_of(visible(study_id), study_id, number), media_type, f"{study_id[:8]}-{number}-{picture}")


def send_report(study_id: str) -> Response:
    """The report as PDF."""
    return _document(keys.report_pdf(visible(study_id), study_id), "application/pdf", f"fractureai-{study_id[:8]}.pdf")


def send_result(study_id: str) -> Response:
    """The result as JSON, as it lies in the store."""
    key = keys.result_json(visible(study_id), study_id)
    return _document(key, "application/json", f"fractureai-{study_id[:8]}.json")


def send_dicom(study_id: str, name: str) -> Response:
    """One DICOM result."""
    try:
        key = keys.dicom_object(visible(study_id), study_id, name)
    except ValueError:
        raise Problem("not_found") from None
    return _document(key, "application/dicom", f"fractureai-{study_id[:8]}-{name}.dcm")


def visible(study_id: str) -> str:
    """The site of a study this request may see."""
    here = site()
    if web().ports.ledger.study(study_id, site=here) is None:
        raise Problem("not_found")
    return here


def _document(key: str, media_type: str, file_name: str) -> Response:
    """A document: by an address of the store where there are such and the settings say so, else through us.

    Pictures always go through us: pages show them, and may show nothing from elsewhere.
    """
    store, valid_s = web().ports.store, web().settings.direct_download_s
    address = valid_s and store.address(key, valid_s=valid_s, file_name=file_name, media_type=media_type)
    if not address:
        return _send(key, media_type, file_name)
    if store.size_bytes(key) is None:
        raise Problem("not_there_yet")
    return Response(status=HTTPStatus.FOUND, headers={"Location": address})


def _send(key: str, media_type: str, file_name: str) -> Response:
    store = web().ports.store
    size_bytes = store.size_bytes(key)
    with ExitStack() as stack:
        try:
            stream = stack.enter_context(store.open(key))
        except KeyError:
            raise Problem("not_there_yet") from None
        # Not ``direct_passthrough``: that forgets the response, and with it what must be closed when it is through.
        response = Response(wrap_file(request.environ, stream, _BUFFER_BYTES), mimetype=media_type)
        response.call_on_close(stack.pop_all().close)
    if size_bytes is not None:
        response.content_length = size_bytes
    # Our own names only: ids and numbers, never what a sender called the file.
    response.headers["Content-Disposition"] = f'inline; filename="{file_name}"'
    return response
