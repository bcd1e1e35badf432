"""Results to a FHIR server, by conditional update: the first time makes the resource, a further time replaces it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx

from fractureai.domain.refusals import is_final_answer
from fractureai.errors import RejectedInput, TransientFailure

_REST_S = 15.0
_MAX_ANSWER_BYTES = 64 * 1024
_MAX_WORDS = 200


class FhirServer:
    """The ``FhirSender`` that puts to one server. Redirects are not followed.

    Parameters
    ----------
    url:
        The server's base, such as ``https://fhir.example/r4``.
    token:
        Sent as bearer token; ``""`` for none.
    attach:
        How the PDF goes with it: ``data``, ``url`` or ``none``.
    """

    def __init__(
        self, url: str, token: str, attach: str, *, timeout_s: float = 20.0, clock: Callable[[], float] = time.time
    ) -> None:
        self._url = url.rstrip("/")
        self._clock = clock
        self._rest_until_s = 0.0
        self.attach = attach
        headers = {"Authorization": f"Bearer {token}"} if token else None
        self._http = httpx.Client(timeout=timeout_s, follow_redirects=False, trust_env=False, headers=headers)

    def put(self, resource: dict[str, Any]) -> None:
        """Make or replace it by its first identifier. See the port."""
        if self._clock() < self._rest_until_s:
            raise TransientFailure("receiver_unavailable", "could not be reached a moment ago")
        identifier = resource["identifier"][0]
        # The server gives ids of its own; with ours it would have to allow them.
        body = {name: value for name, value in resource.items() if name != "id"}
        try:
            with self._http.stream(
                "PUT",
                f"{self._url}/{resource['resourceType']}",
                params={"identifier": f"{identifier['system']}|{identifier['value']}"},
                content=json.dumps(body, ensure_ascii=False).encode(),
                headers={"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"},
            ) as answer:
                status = answer.status_code
                said = b"" if 200 <= status < 300 else _beginning(answer)
        except httpx.HTTPError as error:
            self._rest_until_s = self._clock() + _REST_S
            raise TransientFailure("receiver_unavailable", type(error).__name__) from error
        if is_final_answer(status):
            raise RejectedInput("receiver_refused", f"HTTP {status}{_diagnostics(said)}")
        if not 200 <= status < 300:
            raise TransientFailure("receiver_unavailable", f"HTTP {status}{_diagnostics(said)}")


def _beginning(answer: httpx.Response) -> bytes:
    said = b""
    for chunk in answer.iter_bytes():
        said += chunk
        if len(said) > _MAX_ANSWER_BYTES:
            return b""
    return said


def _diagnostics(said: bytes) -> str:
    """What an ``OperationOutcome`` says is wrong; ``""`` where the answer is something else."""
    try:
        issue = json.loads(said)["issue"][0]
        words = str(issue.get("diagnostics") or issue.get("details", {}).get("text") or issue["code"])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ""
    plain = "".join(letter for letter in words if letter.isprintable())
    return f": {plain[:_MAX_WORDS]}"
