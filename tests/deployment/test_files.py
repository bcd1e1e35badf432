"""What is written for machines that are not here: compose, image, Kubernetes, KEDA, Prometheus, Grafana.

Each is held to its own schema or linter, and to what the code really says: roles, settings, lists, metrics.
"""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from prometheus_client import CollectorRegistry

from fractureai.bootstrap import ROLES
from fractureai.domain.ports import QueueDepths
from fractureai.domain.records import Priority
from fractureai.metrics.instruments import Instruments
from fractureai.metrics.work import WorkCollector
from fractureai.settings import QueueGroup, load_settings
from fractureai.tasks.app import PRIORITY_STEPS, QUEUES
from tests.deployment.composed import APPLICATION, ROOT, compose, dockerfile_words
from tests.deployment.kubernetes import BASE, OVERLAY, container_of, named, objects, settings_of

_BIN = Path(sys.executable).parent
_MONITORING = ROOT / "deploy" / "monitoring"
_OURS = [*APPLICATION, "migrate", "dicom"]


_ALL = objects(BASE) + objects(OVERLAY)
_PODS = [each for each in _ALL if each["kind"] in {"Deployment", "Job", "StatefulSet"}]


def test_compose_keeps_to_its_specification() -> None:
    command = [_BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", ROOT / "docker-compose.yml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dockerfile_pleases_its_linter() -> None:
    done = subprocess.run([_BIN / "hadolint", ROOT / "workers" / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_is_locked_small_and_nobodys() -> None:
    text = (ROOT / "workers" / "Dockerfile").read_text()
    assert text.count("\nFROM ") == 2
    installs = re.findall(r"pip install (.*)", text)
    assert all("--require-hashes" in line or "--no-deps --no-build-isolation ." in line for line in installs)
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    served = (ROOT / "requirements" / "serve.lock").read_text()
    assert not re.search(r"^(tensorflow|keras|torch)", served, re.MULTILINE)
    assert all(re.search(rf"^{name}==", served, re.MULTILINE) for name in ("psycopg", "psycopg-binary"))
    assert dockerfile_words("HEALTHCHECK") == ["python", "-m", "fractureai.metrics.probe"]
    kept = {line.lstrip("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE)
    for name in " ".join(copied).split():
        assert (ROOT / name).exists()
        assert name in kept or "requirements/*.lock" in kept


@pytest.mark.parametrize("name", compose()["services"])
def test_every_container_is_kept_small_and_in_its_bounds(name: str) -> None:
    service = compose()["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    limits = service["deploy"]["resources"]["limits"]
    assert {"cpus", "memory"} <= limits.keys()
    user = str(service["user"]).partition(":")[0]
    # One gives a fresh volume to its owner, and can do nothing else.
    assert user != "0" or (service["cap_add"], service["network_mode"]) == (["CHOWN"], "none")
    assert not any(word in json.dumps(service.get("environment", {})).lower() for word in ("password:", '_key": "'))
    if name in {"queue", "postgres", "s3"}:
        assert service["healthcheck"]["test"]
        assert service["volumes"]


def test_every_role_has_its_service_and_its_deployment() -> None:
    services = compose()["services"]
    said = {tuple(map(str, services[name]["command"])) for name in _OURS}
    wanted = {("worker", role) for role in [*ROLES, "scheduler"]}
    assert wanted <= said
    deployed = {tuple(map(str, container_of(each)["args"])) for each in objects(BASE) if each["kind"] == "Deployment"}
    assert wanted <= deployed
    assert tuple(map(str, services["web"]["command"])) in deployed
    (job,) = [each for each in objects(BASE) if each["kind"] == "Job"]
    assert container_of(job)["args"] == services["migrate"]["command"]


@pytest.mark.parametrize("which", ["compose", "kubernetes"])
def test_all_settings_exist_and_fit_together(which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = tmp_path / "secrets"
    subprocess.run([ROOT / "deploy" / "make-secrets", secrets], check=True, stdout=subprocess.DEVNULL)
    said = (
        compose()["services"]["web"]["environment"] if which == "compose" else settings_of(BASE) | settings_of(OVERLAY)
    )
    for name, value in said.items():
        here = str(value).replace("/run/secrets", str(secrets)).replace("/run/peers.toml", f"{ROOT}/deploy/peers.toml")
        monkeypatch.setenv(name, here)
    settings = load_settings()
    password = (secrets / "postgres_password").read_text()
    assert f"fractureai:{password}@" in settings.ledger.url
    assert settings.queue.url.startswith(f"redis://:{(secrets / 'queue_password').read_text()}@")
    assert settings.store.access_key == (secrets / "s3_access_key").read_text()
    assert settings.access.mode == "closed"
    # Where none is named a process makes its own, and each container would have another one.
    assert settings.web.secret_key_file == secrets / "web_secret"
    assert settings.audit.secret_file == secrets / "audit_secret"
    assert password not in repr(settings)
    assert {file.name for file in secrets.iterdir()} == set(compose()["secrets"])
    assert secrets.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("each", [it for it in _ALL if "keda" not in it["apiVersion"]], ids=named)
def test_kubernetes_takes_it(each: dict[str, Any]) -> None:
    kubernetes_validate.validate(each, "1.33", strict=True)


@pytest.mark.parametrize("each", _PODS, ids=named)
def test_every_pod_passes_the_restricted_standard(each: dict[str, Any]) -> None:
    pod, container = each["spec"]["template"]["spec"], container_of(each)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert "memory" in container["resources"]["limits"]
    if each["kind"] != "Job":
        assert {"livenessProbe", "readinessProbe"} <= container.keys()
        assert all(labels_fit(each))
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    volumes = pod.get("volumes", []) + [it["metadata"] for it in each["spec"].get("volumeClaimTemplates", [])]
    assert mounted == {volume["name"] for volume in volumes}


def labels_fit(each: dict[str, Any]) -> Iterator[bool]:
    labels = each["spec"]["template"]["metadata"]["labels"]
    yield each["spec"]["selector"]["matchLabels"].items() <= labels.items()
    for other in _ALL:
        if other["kind"] == "PodDisruptionBudget" and other["metadata"]["name"] == each["metadata"]["name"]:
            yield other["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_kustomizations_name_what_is_there() -> None:
    for folder in (BASE, OVERLAY):
        said = yaml.safe_load((folder / "kustomization.yaml").read_text())
        assert all((folder / name).exists() for name in said["resources"])
        for patch in said.get("patches", []):
            patched = yaml.safe_load((folder / patch["path"]).read_text())
            (target,) = [it for it in objects(BASE) if named(it) == named(patched)]
            container = patched["spec"]["template"]["spec"]["containers"][0]["name"]
            assert container == container_of(target)["name"]
    (generated,) = yaml.safe_load((OVERLAY / "kustomization.yaml").read_text())["secretGenerator"]
    assert {Path(file).name for file in generated["files"]} == set(compose()["secrets"])


def test_workers_scale_by_the_lists_that_are_really_there() -> None:
    scaled = {it["metadata"]["name"]: it["spec"] for it in _ALL if it["kind"] == "ScaledObject"}
    (login,) = [it for it in _ALL if it["kind"] == "TriggerAuthentication"]
    deployments = {it["metadata"]["name"] for it in _ALL if it["kind"] == "Deployment"}
    prefix = QueueGroup().prefix
    assert set(scaled) == {f"fractureai-{role}" for role in ROLES}
    listed: list[str] = []
    for role, queues in ROLES.items():
        spec = scaled[f"fractureai-{role}"]
        assert spec["scaleTargetRef"]["name"] in deployments
        assert 0 < spec["minReplicaCount"] < spec["maxReplicaCount"]
        found = [trigger["metadata"]["listName"] for trigger in spec["triggers"]]
        steps = [PRIORITY_STEPS[priority] for priority in Priority]
        # As kombu names them: the first step has the queue's own name.
        served = [f"{prefix}{queue}{f':{step}' if step else ''}" for queue in queues for step in steps]
        assert found
        assert set(found) <= set(served)
        listed += found
        for trigger in spec["triggers"]:
            assert trigger["type"] == "redis"
            assert trigger["authenticationRef"]["name"] == login["metadata"]["name"]
            assert all(isinstance(value, str) for value in trigger["metadata"].values())
            assert int(trigger["metadata"]["listLength"]) > 0
    assert len(listed) == len(set(listed)) == len(QUEUES) * len(PRIORITY_STEPS)
    assert login["spec"]["secretTargetRef"][0]["key"] in compose()["secrets"]


class _Nothing:
    def depths(self) -> QueueDepths:
        return QueueDepths({}, 0)

    def open_work(self, *, now_s: float) -> list[Any]:
        return []


@functools.cache
def _exported() -> dict[str, set[str]]:
    """Every series that is exported, with its labels."""
    registry = CollectorRegistry()
    instruments = Instruments(registry)
    found: dict[str, set[str]] = {"up": set(), "process_resident_memory_bytes": set()}
    for metric in vars(instruments).values():
        (family,) = metric.describe()
        names = [f"{family.name}_total"] if family.type == "counter" else []
        if family.type == "histogram":
            names = [f"{family.name}_bucket", f"{family.name}_sum", f"{family.name}_count"]
        found |= {name: {*metric._labelnames, *(["le"] if name.endswith("_bucket") else [])} for name in names}
    for family in WorkCollector(_Nothing, _Nothing).collect():  # type: ignore[arg-type]
        found[family.name] = set(getattr(family, "_labelnames", ()))
    return found


def _expressions() -> list[tuple[str, str]]:
    alerts = yaml.safe_load((_MONITORING / "alerts.yml").read_text())
    rules = [rule for group in alerts["groups"] for rule in group["rules"]]
    panels = json.loads((_MONITORING / "dashboard.json").read_text())["panels"]
    return [(rule["alert"], rule["expr"]) for rule in rules] + [
        (panel["title"], target["expr"]) for panel in panels for target in panel["targets"]
    ]


@pytest.mark.parametrize(("title", "expression"), _expressions())
def test_dashboard_and_alerts_ask_for_what_is_exported(title: str, expression: str) -> None:
    exported = _exported()
    asked = set(re.findall(r"\b(?:fractureai_\w+|process_\w+|up)\b", expression))
    assert asked, title
    assert asked <= exported.keys()
    known = set().union(*(exported[name] for name in asked)) | {"job"}
    for name, matchers in re.findall(r"(\w+)\{([^}]*)\}", expression):
        assert {matcher.partition("=")[0].rstrip("!~") for matcher in matchers.split(",")} <= exported[name] | {"job"}
    for grouped in re.findall(r"by \(([^)]*)\)", expression):
        assert {label.strip() for label in grouped.split(",")} <= known


def test_alerts_say_what_is_the_matter() -> None:
    alerts = yaml.safe_load((_MONITORING / "alerts.yml").read_text())
    for rule in alerts["groups"][0]["rules"]:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"].endswith((".", "?", "}}."))
        assert set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))) <= {
            label for grouped in re.findall(r"by \(([^)]*)\)", rule["expr"]) for label in grouped.split(", ")
        } | {"role"}


def test_prometheus_asks_every_service_where_it_listens() -> None:
    config = yaml.safe_load((_MONITORING / "prometheus.yml").read_text())
    (names,) = config["scrape_configs"][0]["dns_sd_configs"]
    assert set(names["names"]) == {*APPLICATION, "dicom"}
    environment = compose()["services"]["web"]["environment"]
    assert str(names["port"]) == environment["FRACTUREAI_METRICS__PORT"]


@pytest.mark.parametrize("each", _PODS, ids=named)
def test_no_pod_is_given_links_of_services(each: dict[str, Any]) -> None:
    assert each["spec"]["template"]["spec"]["enableServiceLinks"] is False


def test_no_service_makes_variables_that_look_like_settings() -> None:
    services = [each["metadata"]["name"] for each in _ALL if each["kind"] == "Service"]
    assert services
    assert not [name for name in services if name.upper().replace("-", "_").startswith("FRACTUREAI")]
    asked = [each for each in _ALL if each["kind"] in {"Ingress", "StatefulSet"}]
    said = json.dumps([each["spec"] for each in asked])
    assert '"name": "web"' in said
    assert '"serviceName": "queue"' in said
    assert settings_of(BASE)["FRACTUREAI_QUEUE__URL"].startswith("redis://queue:6379/")


def test_the_scaler_asks_the_queue_by_a_name_that_other_namespaces_know() -> None:
    (namespace,) = [each["metadata"]["name"] for each in _ALL if each["kind"] == "Namespace"]
    scaled = [each for each in _ALL if each["kind"] == "ScaledObject"]
    addresses = {trigger["metadata"]["address"] for each in scaled for trigger in each["spec"]["triggers"]}
    assert addresses == {f"queue.{namespace}.svc:6379"}
