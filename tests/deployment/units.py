"""The units of ``deploy/systemd`` as plain processes, and the commands of the page that tells how to use them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SYSTEMD = ROOT / "deploy" / "systemd"
PAGE = ROOT / "docs" / "deployment.md"
_HEADING = "## One machine without containers"


def service(unit: str) -> dict[str, list[str]]:
    """The lines of a unit's section ``[Service]``, by name."""
    name = re.sub(r"@.+\.service$", "@.service", unit)
    section = (SYSTEMD / name).read_text().split("[Service]\n")[1].split("\n[")[0]
    found: dict[str, list[str]] = {}
    for line in section.splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def environment_file(text: str) -> dict[str, str]:
    """A file of ``EnvironmentFile=``, as systemd and a shell read it alike."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    (pairs,) = [[shlex.split(line) for line in lines]]
    assert all(len(pair) == 1 for pair in pairs)
    return dict(pair[0].split("=", 1) for pair in pairs)


def environment(unit: str) -> dict[str, str]:
    """What a unit sets, and the settings of the machine."""
    told = service(unit)
    own = dict(word.split("=", 1) for line in told.get("Environment", []) for word in shlex.split(line))
    files = told.get("EnvironmentFile", [])
    settings = "/etc/fractureai/fractureai.env" in files
    return own | (environment_file((SYSTEMD / "fractureai.env").read_text()) if settings else {})


def command(unit: str, variables: Mapping[str, str]) -> list[str]:
    """``ExecStart`` with its specifiers and variables filled in."""
    (line,) = service(unit)["ExecStart"]
    instance = unit.partition("@")[2].removesuffix(".service")
    words = [word.replace("%i", instance).replace("%%", "%") for word in shlex.split(line)]
    filled = [re.sub(r"(?<!\$)\$\{(\w+)\}", lambda name: variables[name[1]], word) for word in words]
    return [word.replace("$$", "$") for word in filled]


def page_commands() -> list[str]:
    """Every command of the page's section, one a line, without comments."""
    section = PAGE.read_text().split(_HEADING)[1].split("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    lines = [re.sub(r"\s+#.*$", "", line) for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.strip()]


def enabled_units() -> list[str]:
    """The units that the page has enabled, but for the target itself."""
    words = [word for line in page_commands() if "systemctl enable" in line for word in shlex.split(line)]
    units = [word if "." in word else f"{word}.service" for word in words if word.startswith("fractureai")]
    return [unit for unit in units if not unit.endswith(".target")]
