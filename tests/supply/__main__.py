"""``python -m tests.supply sbom`` and ``… audit``: what is in the product, and what is known of it."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from tests.supply.advisories import concerning
from tests.supply.lock import REQUIREMENTS, read_lock
from tests.supply.vendored import argument, concerned, extent

_CANNOT_TELL = 3


def main() -> int:
    """Do it; 0 well, 1 something is known of a package, 3 nobody could be asked."""
    parser = argparse.ArgumentParser(prog="python -m tests.supply", description=__doc__)
    parser.add_argument("--lock", type=Path, default=REQUIREMENTS / "serve.lock")
    commands = parser.add_subparsers(dest="command", required=True)
    sbom = commands.add_parser("sbom", help="write a bill of materials (CycloneDX 1.6, JSON)")
    sbom.add_argument("--out", type=Path, default=Path("sbom.cdx.json"))
    audit = commands.add_parser("audit", help="look for known vulnerabilities, first in the list kept here")
    audit.add_argument("--advisories", type=Path, help="a folder of OSV files instead of the network")
    options = parser.parse_args()
    if options.command == "sbom":
        return write_sbom(options.lock, options.out)
    return audit_all(options.lock, options.advisories)


def audit_all(lock: Path, advisories: Path | None) -> int:
    """Hold a lock against the kept advisories, then against those of a folder or of the public database.

    What is found counts more than what could not be asked; the kept list alone, being incomplete, is no clean bill.
    """
    kept = audit_kept(lock)
    asked = audit_folder(lock, advisories) if advisories else audit_online(lock)
    return kept or asked


def audit_kept(lock: Path) -> int:
    """Hold a lock against the advisories kept in the repository; 1 if one concerns it that is not argued."""
    packages = read_lock(lock)
    unargued, argued = concerned(packages)
    for line in (*unargued, *argued):
        print(line)
    print(
        f"Of the list kept here, {len(unargued) + len(argued)} concern {len(packages)} packages, {len(argued)} of them "
        f"argued. It holds {extent()}; it is no complete database.",
        flush=True,
    )
    return int(bool(unargued))


def write_sbom(lock: Path, out: Path) -> int:
    """The bill of materials of a lock, the same bytes for the same lock."""
    words = ["requirements", str(lock), "--output-reproducible", "--short-PURLs", "--of", "JSON", "-o", str(out)]
    project = ["--pyproject", str(REQUIREMENTS.parent / "pyproject.toml")]
    command = [sys.executable, "-m", "cyclonedx_py", *words, *project]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
    else:
        print(f"{out}: {len(json.loads(out.read_text())['components'])} packages")
    return done.returncode


def audit_folder(lock: Path, folder: Path) -> int:
    """Hold a lock against advisories on disk."""
    if not any(folder.rglob("*.json")):
        print(f"There is no advisory in {folder}; unpack OSV's export for PyPI there.", file=sys.stderr)
        return _CANNOT_TELL
    packages = read_lock(lock)
    found = list(concerning(packages, folder))
    for package, advisory, summary in found:
        print(f"{package.name} {package.version}: {advisory} {summary}")
    print(f"{len(found)} advisories concern {len(packages)} packages.")
    return int(bool(found))


def audit_online(lock: Path) -> int:
    """Ask the public database by pip-audit; say so where it cannot be reached."""
    words = ["-r", str(lock), "--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json"]
    done = subprocess.run(
        [sys.executable, "-m", "pip_audit", *words], check=False, capture_output=True, text=True, timeout=600
    )
    try:
        told = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        told = []
    asked = [entry for entry in told if "skip_reason" not in entry]
    vulnerable = set()
    for name, version, known in (
        (entry["name"], entry["version"], known) for entry in asked for known in entry["vulns"]
    ):
        why = argument(name, version, [known["id"], *known.get("aliases", [])])
        if why is None:
            vulnerable.add(name)
        mended = ", ".join(known["fix_versions"]) or "nothing yet"
        print(f"{name} {version}: {known['id']}, mended in {mended}" + (f" Argued: {why}." if why else ""))
    if len(asked) < len(read_lock(lock)) * 0.9:
        print(
            f"Not audited: the public database answered for {len(asked)} of {len(read_lock(lock))} packages. Ask again "
            "with the network, or give advisories by --advisories FOLDER.",
            file=sys.stderr,
        )
        return int(bool(vulnerable)) or _CANNOT_TELL
    print(f"{len(vulnerable)} of {len(asked)} packages have known vulnerabilities that are not argued.")
    return int(bool(vulnerable))


if __name__ == "__main__":
    sys.exit(main())
