"""deploy/kustomize/: what kubectl makes of an app that knows nothing of a proxy."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes_validate.utils import latest_version, validate

from idtoken_proxy.settings.load import settings_from_text
from tests.deploy.sidecar import DEPLOY, VOLUME, documents, sidecar

HERE = DEPLOY / "kustomize"


@cache
def kubectl() -> str:
    """The first kustomize that knows components says its version; Debian 12's kubectl has an older one."""
    found = shutil.which("kubectl")
    if found is None:
        pytest.skip("kubectl is not installed; .ci/run installs it")
    told = subprocess.run(
        [found, "version", "--client", "-o", "json"], capture_output=True, text=True, check=True, timeout=30
    )
    if "kustomizeVersion" not in json.loads(told.stdout):
        pytest.skip("this kubectl's kustomize knows no components")
    return found


def rendered(directory: Path) -> dict[str, dict[str, Any]]:
    """By kind."""
    made = subprocess.run(
        [kubectl(), "kustomize", str(directory)], capture_output=True, text=True, check=True, timeout=30
    )
    assert made.stderr == ""  # no word of what is deprecated
    return {document["kind"]: document for document in yaml.safe_load_all(made.stdout)}


@pytest.fixture(scope="module")
def example() -> dict[str, dict[str, Any]]:
    return rendered(HERE / "example")


def test_the_component_brings_the_sidecar_of_the_other_manifests() -> None:
    (patch,) = documents(HERE / "sidecar" / "sidecar.yaml")
    pod = patch["spec"]["template"]["spec"]
    assert pod == {"initContainers": [sidecar("idtoken-proxy")], "volumes": [VOLUME]}


def test_the_app_gets_it_and_keeps_all_that_it_has(example: dict[str, dict[str, Any]]) -> None:
    (before,) = documents(HERE / "example" / "app.yaml")
    deployment = example["Deployment"]
    validate(deployment, latest_version(), strict=True)
    pod, old = deployment["spec"]["template"]["spec"], before["spec"]["template"]["spec"]
    first, *others = pod.pop("initContainers")
    assert first == sidecar("IDTOKEN_PROXY_IMAGE")  # before the init container that may call through it
    assert others == old.pop("initContainers")
    assert pod.pop("volumes") == [VOLUME, *old.pop("volumes")]
    (app,), (old_app,) = pod.pop("containers"), old.pop("containers")
    environ = {one["name"]: one["value"] for one in app.pop("env")}
    assert environ == {"BILLING_URL": "http://localhost:8080/billing", "LOG_LEVEL": "info"}
    del old_app["env"]
    assert (app, pod) == (old_app, old)


def test_its_routes_lead_where_the_app_was_led_before(example: dict[str, dict[str, Any]]) -> None:
    text = example["ConfigMap"]["data"]["proxy.yaml"]
    assert example["ConfigMap"]["metadata"]["name"] == VOLUME["configMap"]["name"]
    settings = settings_from_text(text, "proxy.yaml", {})
    (before,) = documents(HERE / "example" / "app.yaml")
    (app,) = before["spec"]["template"]["spec"]["containers"]
    (route,) = settings.routes
    assert str(route.upstream) == app["env"][0]["value"]
    (listener,) = settings.listen
    assert f"http://{listener}{route.path}" == "http://localhost:8080/billing"


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet", "Job"])
def test_other_workloads_get_it_too(kind: str, tmp_path: Path) -> None:
    shutil.copytree(HERE / "sidecar", tmp_path / "sidecar")
    template = {"spec": {"containers": [{"name": "app", "image": "some"}], "restartPolicy": "Never"}}
    api = "batch/v1" if kind == "Job" else "apps/v1"
    workload = {
        "apiVersion": api,
        "kind": kind,
        "metadata": {"name": "other"},
        "spec": {"template": template},
    }
    (tmp_path / "app.yaml").write_text(yaml.safe_dump(workload))
    (tmp_path / "kustomization.yaml").write_text("resources: [app.yaml]\ncomponents: [sidecar]\n")
    pod = rendered(tmp_path)[kind]["spec"]["template"]["spec"]
    assert [one["name"] for one in pod["initContainers"]] == ["idtoken-proxy"]
    assert pod["containers"] == [{"name": "app", "image": "some"}]
