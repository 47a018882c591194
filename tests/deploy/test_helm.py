"""deploy/helm/: rendered by Helm's own library, which the package index brings."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes_validate.utils import latest_version, validate

from idtoken_proxy import __version__
from idtoken_proxy.settings.load import settings_from_text
from tests.deploy.installed import install
from tests.deploy.sidecar import DEPLOY, sidecar

HERE = DEPLOY / "helm"
RENDER = """
import json, sys
import helm_python as helm
chart, values = sys.argv[1], json.loads(sys.argv[2])
helm.dependency_update(chart)
with helm.Chart.load(chart) as loaded:
    loaded.validate_schema(values)
    print(json.dumps(loaded.render(values, name="orders", namespace="shop")))
"""


def test_the_charts_are_of_this_version() -> None:
    library = yaml.safe_load((HERE / "idtoken-proxy" / "Chart.yaml").read_text())
    example = yaml.safe_load((HERE / "example" / "Chart.yaml").read_text())
    (dependency,) = example["dependencies"]
    assert library["version"] == library["appVersion"] == dependency["version"] == __version__


def test_the_example_s_configuration_loads() -> None:
    defaults = yaml.safe_load((HERE / "idtoken-proxy" / "values.yaml").read_text())
    own = yaml.safe_load((HERE / "example" / "values.yaml").read_text())["idtoken-proxy"]
    settings = settings_from_text(yaml.safe_dump({**defaults["config"], **own["config"]}), "proxy.yaml", {})
    (listener,), (route,) = settings.listen, settings.routes
    url = f"http://{listener}{route.path}"
    assert url in (HERE / "example" / "templates" / "deployment.yaml").read_text()


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("helm"), "helm-python-sdk") / "python"


def helm(python: Path, directory: Path, **values: Any) -> subprocess.CompletedProcess[str]:
    """`values`: of the sidecar, beside the example's."""
    shutil.copytree(HERE, directory / "helm")
    asked = json.dumps({"idtoken-proxy": values} if values else {})
    return subprocess.run(
        [str(python), "-c", RENDER, str(directory / "helm" / "example"), asked],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def rendered(python: Path, directory: Path, **values: Any) -> dict[str, dict[str, Any]]:
    """By kind."""
    answer = helm(python, directory, **values)
    assert answer.returncode == 0, answer.stderr
    texts: dict[str, str] = json.loads(answer.stdout)
    documents = [yaml.safe_load(text) for name, text in texts.items() if not name.endswith(".tpl")]
    return {document["kind"]: document for document in documents if document}


@pytest.mark.index
def test_a_chart_that_includes_it_gets_the_sidecar_of_the_other_manifests(
    python: Path, tmp_path: Path
) -> None:
    made = rendered(python, tmp_path)
    for document in made.values():
        validate(document, latest_version(), strict=True)
    pod = made["Deployment"]["spec"]["template"]["spec"]
    project = {"name": "GOOGLE_CLOUD_PROJECT", "value": "my-project"}
    assert pod["initContainers"] == [{**sidecar("IDTOKEN_PROXY_IMAGE"), "env": [project]}]
    (volume,) = pod["volumes"]
    assert volume["configMap"]["name"] == made["ConfigMap"]["metadata"]["name"] == "orders-idtoken-proxy"
    settings = settings_from_text(made["ConfigMap"]["data"]["proxy.yaml"], "proxy.yaml", {})
    assert [route.name for route in settings.routes] == ["billing"]
    assert settings.timeouts.drain == 20


@pytest.mark.index
def test_without_a_project_there_is_no_variable(python: Path, tmp_path: Path) -> None:
    pod = rendered(python, tmp_path, project="")["Deployment"]["spec"]["template"]["spec"]
    assert pod["initContainers"] == [sidecar("IDTOKEN_PROXY_IMAGE")]


@pytest.mark.index
@pytest.mark.parametrize(
    ("key", "value"), [("image", ""), ("imagee", "some"), ("config", {"routes": []}), ("project", 5)]
)
def test_mistaken_values_are_refused(key: str, value: object, python: Path, tmp_path: Path) -> None:
    answer = helm(python, tmp_path, **{key: value})
    assert answer.returncode != 0
    assert key in answer.stderr
