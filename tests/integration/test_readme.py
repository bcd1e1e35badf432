"""What the README shows for machines is run as it stands there."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.bad_files import phantom_dicom
from tests.integration.conftest import Service, write

pytestmark = [
    pytest.mark.xdist_group("service"),
    pytest.mark.timeout(180),
    pytest.mark.skipif(not shutil.which("curl"), reason="no curl (Debian's package curl)"),
]

_README = Path(__file__).parents[2] / "README.md"


def _script() -> str:
    blocks = re.findall(r"```sh\n(.*?)```", _README.read_text(), re.DOTALL)
    (script,) = [block for block in blocks if "curl" in block]
    return script


def test_the_lines_for_machines_do_what_they_say(service: Service, tmp_path: Path) -> None:
    night = io.BytesIO()
    with zipfile.ZipFile(night, "w") as archive:
        archive.writestr("hand.dcm", phantom_dicom(seed=41))
    write(
        tmp_path,
        {"view1.dcm": phantom_dicom(seed=42), "view2.dcm": phantom_dicom(seed=43), "night.zip": night.getvalue()},
    )
    script = "set -euo pipefail\n" + _script().replace("http://127.0.0.1:8000", service.url)
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")
    assert "hand.dcm" in (tmp_path / "night.csv").read_text("utf-8-sig")
    assert '"finished":true' in done.stdout.replace(" ", "")
