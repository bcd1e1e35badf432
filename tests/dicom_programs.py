"""Programs this project did not write, for its DICOM tests: dcmtk's tools and an Orthanc of our own on free ports."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.processes import free_port

_ORTHANC = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
_WEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def dcmtk(name: str) -> str | None:
    """Where dcmtk's program of this name is; pynetdicom puts its own ``storescu``, ``storescp``, … beside Python."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    own = Path(sysconfig.get_path("scripts")).resolve()
    return shutil.which(name, path=os.pathsep.join(each for each in folders if Path(each).resolve() != own))


needs_dcmtk = pytest.mark.skipif(not dcmtk("storescu"), reason="no dcmtk (Debian's package dcmtk)")
needs_orthanc = pytest.mark.skipif(
    not Path(_ORTHANC).exists() or not _WEB.exists(),
    reason="no Orthanc with DICOMweb (Debian's packages orthanc and orthanc-dicomweb)",
)


def run(name: str, *options: object, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    """One of dcmtk's tools; its standard error joins its output."""
    words = [str(dcmtk(name)), *map(str, options)]
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout_s)


@dataclass
class Orthanc:
    """An archive that can be killed and started again on the same ports and data."""

    folder: Path
    dicom_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    modalities: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        config = {
            "Name": "test",
            "StorageDirectory": str(self.folder / "db"),
            "IndexDirectory": str(self.folder / "db"),
            "Plugins": [str(_WEB)],
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "DicomAet": "ORTHANC",
            "RemoteAccessAllowed": False,
            "RegisteredUsers": {"results": "a secret"},
            "AuthenticationEnabled": True,
            "DicomAlwaysAllowEcho": True,
            "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowFind": True,
            "DicomModalities": self.modalities,
            # Its default of ten seconds is little for a busy machine.
            "DicomScuTimeout": 60,
            "DicomScpTimeout": 60,
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        file = self.folder / "orthanc.json"
        file.write_text(json.dumps(config))
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([_ORTHANC, str(file)], stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while not self._answers():
            log = (self.folder / "log").read_text()[-2000:]
            assert self.process.poll() is None, log
            assert time.monotonic() < deadline, log
            time.sleep(0.05)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def get(self, path: str) -> Any:
        return self._request("GET", path).json()

    def post(self, path: str, body: Any) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._request("POST", path, content=data).json()

    def instances(self, **tags: str) -> list[dict[str, Any]]:
        """Main tags of the instances that have these values."""
        found = self.post("/tools/find", {"Level": "Instance", "Query": tags})
        return [self.get(f"/instances/{name}/simplified-tags") for name in found]

    def _request(self, method: str, path: str, **named: Any) -> httpx.Response:
        secret = base64.b64encode(b"results:a secret").decode()
        headers = {"Authorization": f"Basic {secret}"}
        answer = httpx.request(method, self.url + path, headers=headers, trust_env=False, timeout=30, **named)
        answer.raise_for_status()
        return answer

    def _answers(self) -> bool:
        try:
            self.get("/system")
        except httpx.HTTPError:
            return False
        return True


@contextlib.contextmanager
def orthanc(folder: Path, modalities: dict[str, Any] | None = None) -> Iterator[Orthanc]:
    started = Orthanc(folder, modalities=modalities or {})
    started.start()
    try:
        yield started
    finally:
        started.kill()
