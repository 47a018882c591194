"""deploy/cloud-run/service.yaml: no package brings a schema of Cloud Run's YAML, so the part of it that the file uses is written
down here, and strictly: a key that is not in it is an error.

Sources: https://cloud.google.com/run/docs/reference/yaml/v1, https://cloud.google.com/run/docs/configuring/healthchecks,
https://cloud.google.com/run/docs/deploying#sidecars.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import urllib.request
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from idtoken_proxy.settings.environment import SEARCHED
from idtoken_proxy.settings.load import load_settings
from idtoken_proxy.settings.model import TcpAddress
from tests.deploy.processes import PATIENCE, emulated, outside, serving

ROOT = Path(__file__).parents[2]
HERE = ROOT / "deploy" / "cloud-run"

Name: TypeAlias = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]{0,47}[a-z0-9])?$")]
Port: TypeAlias = Annotated[int, Field(ge=1, le=65535)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


class _Pair(_Strict):
    name: str
    value: str


class _HttpGet(_Strict):
    path: Annotated[str, Field(pattern="^/")]
    port: Port
    http_headers: list[_Pair] = []


class _Probe(_Strict):
    http_get: _HttpGet
    initial_delay_seconds: Annotated[int, Field(ge=0, le=240)] = 0
    period_seconds: Annotated[int, Field(ge=1, le=3600)] = 10
    timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = 1
    failure_threshold: Annotated[int, Field(ge=1)] = 3


class _ContainerPort(_Strict):
    name: Literal["http1", "h2c"]
    container_port: Port


class _Limits(_Strict):
    cpu: Annotated[str, Field(pattern=r"^([1-8]|\d{2,3}m)$")]
    memory: Annotated[str, Field(pattern=r"^\d+(Mi|Gi)$")]


class _Resources(_Strict):
    limits: _Limits


class _Mount(_Strict):
    name: Name
    mount_path: Annotated[str, Field(pattern="^/")]


class _Container(_Strict):
    name: Name
    image: str
    command: list[str] = []
    args: list[str] = []
    ports: Annotated[list[_ContainerPort], Field(max_length=1)] = []
    env: list[_Pair] = []
    resources: _Resources
    startup_probe: _Probe | None = None
    liveness_probe: _Probe | None = None
    volume_mounts: list[_Mount] = []


class _Item(_Strict):
    key: Annotated[str, Field(pattern=r"^(latest|\d+)$")]  # of a secret: its version
    path: str


class _Secret(_Strict):
    secret_name: str
    items: list[_Item]


class _Volume(_Strict):
    name: Name
    secret: _Secret


class _TemplateSpec(_Strict):
    service_account_name: Annotated[str, Field(pattern=r"^[^@]+@[^@]+\.iam\.gserviceaccount\.com$")]
    timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = 300
    container_concurrency: Annotated[int, Field(ge=1, le=1000)] = 80
    containers: Annotated[list[_Container], Field(min_length=1, max_length=10)]
    volumes: list[_Volume] = []


class _Annotations(_Strict):
    dependencies: str = Field(alias="run.googleapis.com/container-dependencies")
    boost: Literal["true", "false"] = Field(alias="run.googleapis.com/startup-cpu-boost")
    throttling: Literal["true", "false"] = Field(alias="run.googleapis.com/cpu-throttling")


class _TemplateMetadata(_Strict):
    annotations: _Annotations


class _Template(_Strict):
    metadata: _TemplateMetadata
    spec: _TemplateSpec


class _ServiceSpec(_Strict):
    template: _Template


class _ServiceMetadata(_Strict):
    name: Name


class _Service(_Strict):
    api_version: Literal["serving.knative.dev/v1"]
    kind: Literal["Service"]
    metadata: _ServiceMetadata
    spec: _ServiceSpec


def document() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((HERE / "service.yaml").read_text())
    return found


@pytest.fixture
def spec() -> _TemplateSpec:
    return _Service.model_validate(document()).spec.template.spec


@pytest.fixture
def containers(spec: _TemplateSpec) -> dict[str, _Container]:
    return {container.name: container for container in spec.containers}


def test_has_the_shape() -> None:
    _Service.model_validate(document())


def test_another_shape_is_an_error() -> None:
    changed = document()
    changed["spec"]["template"]["spec"]["containers"][1]["startupprobe"] = {}
    with pytest.raises(ValidationError, match="startupprobe"):
        _Service.model_validate(changed)


def test_one_container_gets_the_requests_and_it_is_the_app(containers: dict[str, _Container]) -> None:
    assert [name for name, container in containers.items() if container.ports] == ["app"]


def test_the_app_waits_for_a_container_that_can_say_when_it_is_ready(
    containers: dict[str, _Container],
) -> None:
    annotations = _Service.model_validate(document()).spec.template.metadata.annotations
    assert json.loads(annotations.dependencies) == {"app": ["idtoken-proxy"]}
    assert containers["idtoken-proxy"].startup_probe is not None


def test_probes_are_within_cloud_run_s_limits(containers: dict[str, _Container]) -> None:
    proxy = containers["idtoken-proxy"]
    assert proxy.startup_probe is not None
    assert proxy.liveness_probe is not None
    assert proxy.startup_probe.period_seconds * proxy.startup_probe.failure_threshold <= 240
    for probe in (proxy.startup_probe, proxy.liveness_probe):
        assert probe.timeout_seconds <= probe.period_seconds
        assert not probe.http_get.path.endswith("z")  # such are Google's own


def test_the_configuration_comes_by_a_secret_to_where_it_is_looked_for(
    spec: _TemplateSpec, containers: dict[str, _Container]
) -> None:
    (volume,) = spec.volumes
    (item,) = volume.secret.items
    (mount,) = containers["idtoken-proxy"].volume_mounts
    assert mount.name == volume.name
    assert f"{mount.mount_path}/{item.path}" in SEARCHED
    assert (
        f"gcloud secrets create {volume.secret.secret_name} --data-file=deploy/cloud-run/{item.path}"
        in (HERE / "service.yaml").read_text()
    )


def test_the_configuration_fits_the_service(containers: dict[str, _Container]) -> None:
    settings = load_settings(str(HERE / "proxy.yaml"), {})
    assert settings.listen == (TcpAddress("localhost", 8080),)
    assert isinstance(settings.admin, TcpAddress)
    probe = containers["idtoken-proxy"].startup_probe
    assert probe is not None
    assert settings.admin == TcpAddress("0.0.0.0", probe.http_get.port)
    urls = {f"http://localhost:8080{route.path}" for route in settings.routes}
    assert {variable.value for variable in containers["app"].env} == urls
    assert 0 < settings.timeouts.lameduck + settings.timeouts.drain < 10


def test_log_lines_belong_to_the_traces_of_a_project(
    spec: _TemplateSpec, containers: dict[str, _Container]
) -> None:
    project = spec.service_account_name.partition("@")[2].split(".")[0]
    assert _Pair(name="GOOGLE_CLOUD_PROJECT", value=project) in containers["idtoken-proxy"].env


def test_nobody_gets_a_right_that_is_not_needed() -> None:
    """The comment's own commands: to invoke each service by itself, and to read one secret; nothing on the project."""
    text = (HERE / "service.yaml").read_text()
    assert set(re.findall(r"--role=(\S+)", text)) == {
        "roles/run.invoker",
        "roles/secretmanager.secretAccessor",
    }
    assert "gcloud projects" not in text


def own_address() -> str:
    """One that is not loopback, where there is one: a probe does not come over loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return "127.0.0.1"
        return str(asked.getsockname()[0])


def test_the_probes_get_through(containers: dict[str, _Container], tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    proxy = containers["idtoken-proxy"]
    with emulated() as printed:
        text = (HERE / "proxy.yaml").read_text()
        text = text.replace("localhost:8080 ", "localhost:0 ").replace("0.0.0.0:9090", f"0.0.0.0:{port}")
        for name in ("user-profiles", "billing"):
            url = printed[f"{name.upper().replace('-', '_')}_URL"]
            text = text.replace(f"https://{name}-x7f3kq-uc.a.run.app", url)
        (tmp_path / "proxy.yaml").write_text(text)
        environ = {
            **outside(),
            "PYTHONPATH": str(ROOT),
            "GCE_METADATA_HOST": printed["GCE_METADATA_HOST"],
        }
        command = [sys.executable, "-m", "idtoken_proxy", *proxy.args, "-c", str(tmp_path / "proxy.yaml")]
        with serving(command, environ):
            for probe in (proxy.startup_probe, proxy.liveness_probe):
                assert probe is not None
                request = urllib.request.Request(
                    f"http://{own_address()}:{port}{probe.http_get.path}",
                    headers={header.name: header.value for header in probe.http_get.http_headers},
                )
                with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                    assert answer.status == 200
