"""Talking to a DICOMweb peer: STOW-RS (PS3.18 section 10.5), and QIDO-RS to look whether what was stored is there."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from typing import Any

import httpx

from fractureai.dicom.associations import judged
from fractureai.dicom.peers import Destination
from fractureai.domain.ports import OutgoingObject
from fractureai.domain.records import DeliveredObject, ObjectState
from fractureai.domain.refusals import is_final_answer, is_final_status
from fractureai.errors import BrokenDeployment, TransientFailure

_JSON = "application/dicom+json"
_CHUNK_BYTES = 1 << 18
_MAX_ANSWER_BYTES = 1 << 20
_FAILED = "00081198"
_INSTANCE, _REASON = "00081155", "00081197"
_DUPLICATE = 0x0111


class StowClient:
    """One DICOMweb service. No redirect is followed and no proxy of the environment used."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._root = str(destination.url).rstrip("/")
        self._http = httpx.Client(
            timeout=httpx.Timeout(destination.timeout_s, connect=min(5.0, destination.timeout_s)),
            verify=destination.tls.context() if destination.tls else True,
            follow_redirects=False,
            trust_env=False,
            headers={"User-Agent": "FractureAI"} | _authorization(destination),
        )

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def echo(self) -> None:
        """Ask for one study. Raises ``TransientFailure('receiver_unavailable')`` unless it answers."""
        status, _ = self._get("/studies", {"limit": "1"})
        if status not in {200, 204}:
            raise TransientFailure("receiver_unavailable", f"HTTP {status}")

    def store(self, objects: Sequence[OutgoingObject]) -> list[DeliveredObject]:
        """Store each in a request of its own, so that one that is refused does not cost the others.

        Raises
        ------
        TransientFailure
            ``receiver_unavailable``: nobody answered.
        """
        return [self._checked(each, self._store(each)) for each in objects]

    def _store(self, each: OutgoingObject) -> DeliveredObject:
        # From the UID, so that the same object makes the same request.
        boundary = f"fractureai-{each.sop_instance_uid}"
        before = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        after = f"\r\n--{boundary}--\r\n".encode()
        size = len(before) + each.path.stat().st_size + len(after)
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary="{boundary}"',
            # Said beforehand: a server was seen to answer 200 to a chunked request and to store nothing.
            "Content-Length": str(size),
            "Accept": _JSON,
        }

        def body() -> Iterator[bytes]:
            yield before
            with each.path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
            yield after

        status, answer = self._ask("POST", "/studies", content=body(), headers=headers)
        return _outcome(each, status, answer)

    def _checked(self, each: OutgoingObject, done: DeliveredObject) -> DeliveredObject:
        if done.state is not ObjectState.STORED or self._destination.check == "off":
            return done
        return judged(done, self._is_there(each), required=self._destination.check == "required")

    def _is_there(self, each: OutgoingObject) -> bool | None:
        path = f"/studies/{each.study_instance_uid}/series/{each.series_instance_uid}/instances"
        status, answer = self._get(path, {"SOPInstanceUID": each.sop_instance_uid})
        if status == 200 and isinstance(answer, list):
            return bool(answer)
        return False if status == 204 else None

    def _get(self, path: str, query: dict[str, str]) -> tuple[int, Any]:
        return self._ask("GET", path, params=query, headers={"Accept": _JSON})

    def _ask(self, method: str, path: str, **named: Any) -> tuple[int, Any]:
        try:
            with self._http.stream(method, self._root + path, **named) as answer:
                text = b""
                for chunk in answer.iter_bytes():
                    text += chunk
                    if len(text) > _MAX_ANSWER_BYTES:
                        break
                return answer.status_code, _json(text)
        except httpx.HTTPError as error:
            raise TransientFailure("receiver_unavailable", type(error).__name__) from error


def _outcome(each: OutgoingObject, status: int, answer: Any) -> DeliveredObject:
    """What the answer says of the instance; a whole request may succeed that refused it."""
    reason = _failure_reason(answer, each.sop_instance_uid)
    if reason is not None and reason != _DUPLICATE:
        return DeliveredObject(each.name, _refused(is_final=is_final_status(reason)), f"reason 0x{reason:04X}")
    if reason == _DUPLICATE or status in {200, 202}:
        return DeliveredObject(each.name, ObjectState.STORED)
    if status >= 500 or status in {408, 429}:
        raise TransientFailure("receiver_unavailable", f"HTTP {status}")
    return DeliveredObject(each.name, _refused(is_final=is_final_answer(status)), f"HTTP {status}")


def _refused(*, is_final: bool) -> ObjectState:
    return ObjectState.REJECTED if is_final else ObjectState.REFUSED


def _failure_reason(answer: Any, sop_instance_uid: str) -> int | None:
    documents = answer if isinstance(answer, list) else [answer]
    for document in documents:
        for item in _values(document, _FAILED):
            if sop_instance_uid in _values(item, _INSTANCE) or not _values(item, _INSTANCE):
                reasons = _values(item, _REASON)
                return int(reasons[0]) if reasons and str(reasons[0]).isdigit() else 0x0110
    return None


def _values(document: Any, tag: str) -> list[Any]:
    element = document.get(tag) if isinstance(document, dict) else None
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # the second of brackets without end
        return None


def _authorization(destination: Destination) -> dict[str, str]:
    if destination.auth == "none" or destination.auth_file is None:
        return {}
    try:
        secret = destination.auth_file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BrokenDeployment(f"{destination.auth_file} cannot be read") from error
    if destination.auth == "bearer":
        return {"Authorization": f"Bearer {secret}"}
    return {"Authorization": "Basic " + base64.b64encode(secret.encode()).decode()}
