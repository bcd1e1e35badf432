"""Signed receipts: what makes an upload file by file resumable without the web remembering anything.

Whoever begins an upload gets a token for it; every file that arrives is acknowledged by a receipt that names it, its
size and its hash. Handing in the receipts completes the upload. Nothing is written down in between, so an upload
survives a restart of the web and a reload of the page, and one that is never completed leaves only its files.
"""

from __future__ import annotations

from collections.abc import Sequence

from itsdangerous import BadSignature, URLSafeSerializer

from fractureai.domain.study import Upload
from fractureai.web.context import site, web
from fractureai.web.problems import Problem


def upload_token(batch_id: str) -> str:
    """Who holds it, and may send at this site, may send files to this upload, until it expires."""
    until_s = int(web().ports.clock() + web().settings.upload_token_s)
    return str(_signer("upload").dumps([site(), batch_id, until_s]))


def check_upload_token(batch_id: str, token: str) -> None:
    """Raise ``not_found`` unless the token was given out for this upload at this site, and not too long ago."""
    try:
        named = _signer("upload").loads(token)
    except BadSignature:
        raise Problem("not_found") from None
    if named[:2] != [site(), batch_id] or web().ports.clock() >= named[2]:
        raise Problem("not_found")


def receipt(batch_id: str, upload: Upload) -> str:
    """Acknowledge one file."""
    named = [site(), batch_id, upload.number, upload.file_name, upload.size_bytes, upload.sha256]
    return str(_signer("receipt").dumps(named))


def read_receipts(batch_id: str, receipts: Sequence[str]) -> tuple[Upload, ...]:
    """The files that receipts stand for, in order of their numbers; the last receipt of a number counts.

    Raises
    ------
    Problem
        ``bad_receipt`` if one is not ours or not of this upload; ``too_many_files``.
    """
    most = web().settings.max_upload_files
    if len(receipts) > most:
        raise Problem("too_many_files", f"At most {most} in one upload.")
    uploads: dict[int, Upload] = {}
    signer = _signer("receipt")
    for text in receipts:
        try:
            here, of_batch, *upload = signer.loads(text)
        except BadSignature:
            raise Problem("bad_receipt") from None
        if (here, of_batch) != (site(), batch_id):
            raise Problem("bad_receipt")
        uploads[upload[0]] = Upload(*upload)
    return tuple(uploads[number] for number in sorted(uploads))


def _signer(purpose: str) -> URLSafeSerializer:
    return URLSafeSerializer(web().settings.secret_key, salt=f"fractureai.{purpose}")
