"""A request to the web, as a function of bytes."""

from __future__ import annotations

import dataclasses
import io
from functools import cache
from typing import Any

from werkzeug.test import create_environ, run_wsgi_app

from fractureai.access.gate import AccessGate, SessionRules
from fractureai.access.limits import Budgets, Limiter, budgets_of
from tests.browser.samples import View, add, open_app, open_ports
from tests.fuzz.corpus import scratch


@cache
def _web() -> tuple[tuple[Any, ...], dict[bytes, bytes]]:
    """The open application and a closed one, and ids that exist."""
    plenty = Budgets(*["1000000/second"] * 4)
    applications = []
    ports = open_ports(scratch() / "requests")
    study = add(ports, View("a.png", probability=0.9))
    for access in (None, AccessGate(ports.ledger, Limiter(budgets_of(plenty)), SessionRules(), None)):
        asked = ports if access is None else dataclasses.replace(ports, access=access)
        applications.append(open_app(asked))
    return tuple(applications), {b"STUDY": study.study_id.encode(), b"BATCH": study.batch_id.encode()}


def read(data: bytes) -> None:
    """A whole request, as lines; no answer may be an error of ours or carry a line break in its headers."""
    applications, known = _web()
    head, _, body = data.partition(b"\n\n")
    for word, value in known.items():
        head = head.replace(word, value)
    first, *lines = head.decode("latin-1").replace("wait", "w").split("\n")
    method, _, target = first.partition(" ")
    path, _, query = target.partition("?")
    named = (line.partition(":") for line in lines)
    headers = {name.strip().upper().replace("-", "_"): value.strip() for name, _, value in named}
    for application in applications:
        environ = create_environ(method="GET", input_stream=io.BytesIO(body))
        environ |= {"REQUEST_METHOD": method[:20] or "GET", "PATH_INFO": path, "QUERY_STRING": query}
        environ |= {"CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": headers.pop("CONTENT_TYPE", "")}
        environ |= {f"HTTP_{name}": value for name, value in headers.items()}
        answer, status, sent = run_wsgi_app(application, environ, buffered=True)
        assert int(status[:3]) < 500, f"{path[:40]}: {status[:3]}"
        assert not any(set("\r\n\0") & set(name + value) for name, value in sent), "a header is one line"
        assert sum(map(len, answer)) < 8 << 20, "an answer is not endless"


@cache
def seeds() -> tuple[bytes, ...]:
    """Requests to most kinds of address, with the headers that are read."""
    return (
        b'GET /api/v1/studies/STUDY?wait=0\nIf-None-Match: "a", W/"b", *\nAccept: application/json;q=0.5, */*',
        b'GET /api/v1/studies/STUDY/report.pdf\nRange: bytes=0-99,200-,-5\nIf-Range: "x"\nAccept-Encoding: gzip',
        b"GET /api/v1/studies/STUDY/images/1/overlay.jpg\nIf-Modified-Since: Mon, 02 Nov 2026 10:00:00 GMT",
        b'GET /studies/STUDY\nAccept-Language: de-DE,de;q=0.9,en;q=0.1\nCookie: session=eyJhIjoxfQ.abc.def; a="b\\"c"',
        b"GET /worklist?search=gA&a=b\nAuthorization: Basic YW5uYTpiOmM=\nHost: localhost:80\nX-Forwarded-For: ::1, x",
        b'GET /batches/BATCH/reports.zip\nAuthorization: Bearer fai_abcdef_0123456789\nForwarded: for="[::1]:80"',
        b"GET /api/v1/results?after=AAAA&limit=5\nX-Request-ID: abc\nTraceparent: 00-"
        + b"a" * 32
        + b"-"
        + b"b" * 16
        + b"-01",
        b"POST /api/v1/uploads\nIdempotency-Key: one\nOrigin: http://localhost\nSec-Fetch-Site: same-origin",
        b"PUT /api/v1/uploads/BATCH/files/1\nUpload-Token: x\nContent-Type: application/octet-stream\n"
        b'Content-Disposition: attachment; filename*=UTF-8\'\'r%C3%B6nt.dcm; filename="a\\"b"\n\nbytes',
        b'POST /dicom-web/studies\nContent-Type: multipart/related; type="application/dicom"; boundary=edge\n'
        b"Accept: application/dicom+json\n\n--edge\r\nContent-Type: application/dicom\r\n\r\nDICM\r\n--edge--",
        b"POST /sign-in\nContent-Type: application/x-www-form-urlencoded\nReferer: http://localhost/sign-in\n\n"
        b"name=anna&password=p%00w&next=%2F%2Fevil",
        b'POST /api/v1/studies/STUDY/verdicts\nContent-Type: application/json; charset=utf-16\n\n{"agreement": 1}',
        b'POST /predict/study\nContent-Type: multipart/form-data; boundary="edge"\n\n--edge--',
        b"GET /static/../app.py\nX-Forwarded-Host: evil\nX-HTTP-Method-Override: DELETE\nExpect: 100-continue",
        b"OPTIONS /api/v1/batches/BATCH/results.csv\nOrigin: null\nAccess-Control-Request-Method: PUT",
        b"GET /studies.csv?from=2026-01-01\nAccept: text/csv\nIf-Match: *",
    )
