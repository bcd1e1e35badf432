"""What Kubernetes makes of ``deploy/kubernetes``: the objects of base and overlay, and the environment of each pod."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / "deploy" / "kubernetes" / "base"
OVERLAY = ROOT / "deploy" / "kubernetes" / "overlays" / "example"


def objects(folder: Path) -> list[dict[str, Any]]:
    """Every object of a kustomization's own files."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    files = [folder / name for name in kustomization["resources"] if (folder / name).is_file()]
    return [each for file in files for each in yaml.safe_load_all(file.read_text())]


def settings_of(folder: Path) -> dict[str, str]:
    """What a kustomization puts into the config map."""
    (generated,) = yaml.safe_load((folder / "kustomization.yaml").read_text())["configMapGenerator"]
    return dict(line.split("=", 1) for line in generated["literals"])


def named(each: Mapping[str, Any]) -> str:
    return f"{each['kind']}-{each['metadata']['name']}"


def container_of(each: Mapping[str, Any]) -> dict[str, Any]:
    (container,) = each["spec"]["template"]["spec"]["containers"]
    return dict(container)


def containers() -> dict[str, dict[str, Any]]:
    """The containers of the pods, by their names, with the overlay's patches: a strategic merge of one container."""
    found = {
        container_of(each)["name"]: container_of(each) for each in objects(BASE) if "template" in each.get("spec", ())
    }
    for patch in yaml.safe_load((OVERLAY / "kustomization.yaml").read_text()).get("patches", []):
        changed = container_of(yaml.safe_load((OVERLAY / patch["path"]).read_text()))
        found[changed["name"]] |= changed
    return found


def links_of(name: str, ports: Mapping[str, tuple[str, int]], address: str) -> dict[str, str]:
    """What the kubelet puts into every container for a Service, unless ``enableServiceLinks`` is false.

    ``ports`` by their names: protocol and number. As ``makeLinkVariables`` in Kubernetes' ``pkg/kubelet/envvars`` does.
    """
    prefix = re.sub("-", "_", name).upper()
    host = f"[{address}]" if ":" in address else address
    first = next(iter(ports.values()))
    links = {
        f"{prefix}_SERVICE_HOST": address,
        f"{prefix}_SERVICE_PORT": str(first[1]),
        f"{prefix}_PORT": f"{first[0].lower()}://{host}:{first[1]}",
    }
    for port, (protocol, number) in ports.items():
        each = f"{prefix}_PORT_{number}_{protocol}"
        links |= {
            f"{prefix}_SERVICE_PORT_{re.sub('-', '_', port).upper()}": str(number),
            each: f"{protocol.lower()}://{host}:{number}",
            f"{each}_PROTO": protocol.lower(),
            f"{each}_PORT": str(number),
            f"{each}_ADDR": address,
        }
    return links


def all_links() -> dict[str, str]:
    """Those of every Service of the manifests, of the cluster's own, and of one whose name looks like a setting."""
    services = [each for each in objects(BASE) + objects(OVERLAY) if each["kind"] == "Service"]
    ports = {
        each["metadata"]["name"]: {port["name"]: ("TCP", port["port"]) for port in each["spec"]["ports"]}
        for each in services
    }
    ports |= {"kubernetes": {"https": ("TCP", 443)}, "fractureai-web": {"http": ("TCP", 80)}}
    return {
        variable: value
        for number, (name, of) in enumerate(ports.items(), start=1)
        for variable, value in links_of(name, of, f"10.96.0.{number}").items()
    }
