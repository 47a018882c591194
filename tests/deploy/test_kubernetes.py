"""deploy/kubernetes/: against Kubernetes' own schemas, against what a cluster that enforces the restricted Pod Security Standard
lets in, and against this program: the commands, paths and ports that the files name are there.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from kubernetes_validate.utils import ValidationError, latest_version, validate

from idtoken_proxy.cli import commands
from idtoken_proxy.settings.environment import SEARCHED
from idtoken_proxy.settings.load import settings_from_text
from idtoken_proxy.settings.model import Settings
from tests.cases import for_each
from tests.deploy.processes import PATIENCE, emulated, outside, serving

HERE = Path(__file__).parents[2] / "deploy" / "kubernetes"
FILES = sorted(HERE.glob("*.yaml"))
NATIVE = {"deployment.yaml", "job.yaml"}
# The first that has native sidecars switched on; the last that the schemas know.
VERSIONS = ("1.29", latest_version())


def documents(file: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(file.read_text()))


def pods() -> list[tuple[str, dict[str, Any]]]:
    """(file, pod specification) of each workload."""
    return [
        (file.name, document["spec"]["template"]["spec"])
        for file in FILES
        for document in documents(file)
        if "template" in document.get("spec", {})
    ]


PODS = pytest.mark.parametrize(("file", "pod"), [pytest.param(*found, id=found[0]) for found in pods()])


def containers(pod: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = [*pod.get("initContainers", []), *pod["containers"]]
    return {container["name"]: container for container in found}


def settings() -> Settings:
    (text,) = [
        document["data"]["proxy.yaml"]
        for document in documents(HERE / "common.yaml")
        if document["kind"] == "ConfigMap"
    ]
    return settings_from_text(text, "proxy.yaml", {})


@for_each("version", VERSIONS)
@for_each("file", FILES, ids=lambda file: file.name)
def test_fits_the_schema(file: Path, version: str) -> None:
    for document in documents(file):
        validate(document, version, strict=True)


def test_the_schema_would_find_something() -> None:
    (deployment,) = documents(HERE / "deployment.yaml")
    deployment["spec"]["template"]["spec"]["initContainers"][0]["startupprobe"] = {}
    with pytest.raises(ValidationError, match="startupprobe"):
        validate(deployment, VERSIONS[-1], strict=True)


@PODS
def test_is_let_in_under_the_restricted_standard(file: str, pod: dict[str, Any]) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted, and a read-only root besides."""
    assert not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC"))
    assert pod["automountServiceAccountToken"] is False
    for container in containers(pod).values():
        context = container["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] > 0  # a number: the kubelet cannot tell who a name is
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["resources"]["requests"]
        assert container["resources"]["limits"]["memory"]


@PODS
def test_every_reference_has_something_at_its_other_end(file: str, pod: dict[str, Any]) -> None:
    known = {(document["kind"], document["metadata"]["name"]) for document in documents(HERE / "common.yaml")}
    assert ("ServiceAccount", pod["serviceAccountName"]) in known
    volumes = {volume["name"]: volume["configMap"]["name"] for volume in pod["volumes"]}
    assert all(("ConfigMap", name) in known for name in volumes.values())
    (mount,) = containers(pod)["idtoken-proxy"]["volumeMounts"]
    assert mount["name"] in volumes
    assert f"{mount['mountPath']}/proxy.yaml" in SEARCHED  # so that every command finds it without -c


@PODS
def test_the_app_is_pointed_at_a_route(file: str, pod: dict[str, Any]) -> None:
    found = settings()
    (listener,) = found.listen
    urls = {f"http://{listener}{route.path}" for route in found.routes}
    said = [variable["value"] for variable in containers(pod)["app"]["env"]]
    assert said
    assert set(said) <= urls


@PODS
def test_drains_before_it_is_killed(file: str, pod: dict[str, Any]) -> None:
    assert pod["terminationGracePeriodSeconds"] > settings().timeouts.drain


@PODS
def test_a_sidecar_is_native_where_it_can_be(file: str, pod: dict[str, Any]) -> None:
    sidecars = [container["name"] for container in pod.get("initContainers", [])]
    assert sidecars == (["idtoken-proxy"] if file in NATIVE else [])
    if file in NATIVE:
        sidecar = containers(pod)["idtoken-proxy"]
        assert sidecar["restartPolicy"] == "Always"
        for kind in ("startup", "readiness", "liveness"):
            program, *arguments = sidecar[f"{kind}Probe"]["exec"]["command"]
            assert (program, arguments) == ("idtoken-proxy", ["probe", kind])


@for_each("kind", ["startup", "readiness", "liveness"])
def test_the_probes_are_there(kind: str) -> None:
    command = commands.commands["probe"]
    command.make_parser(click.Context(command)).parse_args([kind])


def test_the_metadata_server_takes_the_service_account() -> None:
    (account,) = [found for found in documents(HERE / "common.yaml") if found["kind"] == "ServiceAccount"]
    email = account["metadata"]["annotations"]["iam.gke.io/gcp-service-account"]
    assert email.endswith(".iam.gserviceaccount.com")


def test_the_policies_are_about_every_workload_and_let_in_what_the_deployment_serves() -> None:
    everyone, ingress = documents(HERE / "network-policy.yaml")
    templates = [
        document["spec"]["template"]
        for file in FILES
        for document in documents(file)
        if "template" in document.get("spec", {})
    ]
    assert len(templates) == 3
    (selected,) = everyone["spec"]["podSelector"]["matchExpressions"]
    assert (selected["key"], selected["operator"]) == ("app", "In")
    assert set(selected["values"]) == {template["metadata"]["labels"]["app"] for template in templates}
    assert everyone["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in everyone["spec"]
    (deployment,) = documents(HERE / "deployment.yaml")
    template = deployment["spec"]["template"]
    assert ingress["spec"]["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    (port,) = containers(template["spec"])["app"]["ports"]
    assert [one["port"] for one in ingress["spec"]["ingress"][0]["ports"]] == [port["containerPort"]]


@PODS
def test_log_lines_belong_to_the_traces_of_a_project(file: str, pod: dict[str, Any]) -> None:
    (account,) = [found for found in documents(HERE / "common.yaml") if found["kind"] == "ServiceAccount"]
    email = account["metadata"]["annotations"]["iam.gke.io/gcp-service-account"]
    project = {"name": "GOOGLE_CLOUD_PROJECT", "value": email.partition("@")[2].split(".")[0]}
    assert project in containers(pod)["idtoken-proxy"]["env"]


# -- the Job that ends by itself ------------------------------------------------------


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed; .ci/run installs it")
@pytest.mark.parametrize("code", [0, 3])
def test_the_app_s_end_is_the_proxy_s(code: int, tmp_path: Path) -> None:
    """The container's own script, with a proxy that is as late as it likes, and an app that ends one way or the other."""
    ((_, pod),) = [found for found in pods() if found[0] == "job-without-native-sidecars.yaml"]
    shell, option, script, *_ = containers(pod)["app"]["command"]
    config = tmp_path / "proxy.yaml"
    with emulated() as printed:
        config.write_text(f"""
listen: 127.0.0.1:0
admin: unix:{tmp_path}/admin.sock
identity: metadata
google: {{metadata_host: "{printed["GCE_METADATA_HOST"]}"}}
routes: [{{name: billing, upstream: "{printed["BILLING_URL"]}"}}]
log: {{format: json}}
""")
        command = [sys.executable, "-m", "idtoken_proxy", "serve", "-c", str(config)]
        with serving(command, {**outside(), "PYTHONPATH": str(HERE.parents[1])}) as proxy:
            # A socket in place of the port, which others may have here.
            assert script.count("http://localhost:9090/") == 2
            moved = script.replace("curl -", f"curl --unix-socket {tmp_path}/admin.sock -")
            call = f'curl -sS --fail -o /dev/null "$BILLING_URL"/invoices && exit {code}'
            app = subprocess.run(
                [shell, option, moved, "app", "sh", "-c", call],
                env={"PATH": os.environ["PATH"], "BILLING_URL": proxy.url},
                capture_output=True,
                text=True,
                check=False,
                timeout=PATIENCE,
            )
            assert (app.returncode, app.stdout, app.stderr) == (code, "", "")
            assert proxy.process.wait(PATIENCE) == 0


CURL = """#!/bin/sh
case "$*" in
  *startup) [ -z "$NEVER" ] || { echo asked; exec sleep 60; } ;;
  *quitquitquit) echo told ;;
esac
"""
APP = "trap 'exit 7' TERM; echo working; while :; do sleep 0.05; done"


@pytest.mark.parametrize(
    ("never", "first", "code"), [("", "working", 7), ("1", "asked", 128 + signal.SIGTERM)]
)
def test_its_app_hears_sigterm_and_the_proxy_of_its_end(
    never: str, first: str, code: int, tmp_path: Path
) -> None:
    """The kubelet's SIGTERM, to an app that ends as it likes, and to one that still waits for the proxy."""
    ((_, pod),) = [found for found in pods() if found[0] == "job-without-native-sidecars.yaml"]
    shell, option, script, *_ = containers(pod)["app"]["command"]
    (tmp_path / "curl").write_text(CURL)
    (tmp_path / "curl").chmod(0o755)
    started = subprocess.Popen(
        [shell, option, script, "app", "sh", "-c", APP],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "NEVER": never},
        stdout=subprocess.PIPE,
        text=True,
    )
    with started:
        try:
            assert started.stdout is not None
            assert started.stdout.readline() == f"{first}\n"
            started.send_signal(signal.SIGTERM)
            assert started.wait(PATIENCE) == code
            assert started.stdout.read() == "told\n"
        finally:
            started.kill()
