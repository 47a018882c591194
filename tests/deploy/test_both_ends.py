"""deploy/both-ends/: its files against their schemas, against each other and against this program; and what Compose would start,
as processes of this machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from kubernetes_validate.utils import validate

from idtoken_proxy.settings.environment import SEARCHED
from idtoken_proxy.settings.load import settings_from_text
from idtoken_proxy.settings.model import Settings, TcpAddress
from tests.deploy.test_compose import check
from tests.deploy.test_compose_world import PATIENCE, World
from tests.deploy.test_kubernetes import VERSIONS, containers

HERE = Path(__file__).parents[2] / "deploy" / "both-ends"
PORTS = ("3000", "8080", "8090", "8101", "8443", "9090", "9091")
LOGIN = "login@my-project.iam.gserviceaccount.com"


def documents(kind: str) -> dict[str, dict[str, Any]]:
    """By name."""
    found = yaml.safe_load_all((HERE / "kubernetes.yaml").read_text())
    return {document["metadata"]["name"]: document for document in found if document["kind"] == kind}


def settings_of(name: str, directory: Path) -> Settings:
    """Of a ConfigMap, with the files that it names put into `directory`."""
    text = documents("ConfigMap")[f"{name}-idtoken-proxy"]["data"]["proxy.yaml"]
    ca = trustme.CA()
    certificate = ca.issue_cert("orders.default.svc")
    ca.cert_pem.write_to_path(directory / "ca.crt")
    certificate.cert_chain_pems[0].write_to_path(directory / "tls.crt")
    certificate.private_key_pem.write_to_path(directory / "tls.key")
    for mounted in ("/etc/orders-tls", "/etc/orders-ca"):
        text = text.replace(mounted, str(directory))
    return settings_from_text(text, "proxy.yaml", {})


def test_they_fit_their_schemas() -> None:
    answer = check(HERE / "compose.yaml")
    assert answer.returncode == 0, answer.stdout
    for document in yaml.safe_load_all((HERE / "kubernetes.yaml").read_text()):
        for version in VERSIONS:
            validate(document, version, strict=True)


def test_both_ends_agree_on_the_audience_the_caller_the_port_and_the_name(tmp_path: Path) -> None:
    caller, receiver = settings_of("login", tmp_path), settings_of("orders", tmp_path)
    (route,), (inbound,) = caller.routes, receiver.receive
    assert [route.audience] == list(inbound.audiences)
    account = documents("ServiceAccount")["login"]["metadata"]["annotations"][
        "iam.gke.io/gcp-service-account"
    ]
    assert inbound.rules[0].invokers == frozenset({f"serviceAccount:{account}"})
    assert inbound.listen == TcpAddress("0.0.0.0", route.upstream.port)
    service = documents("Service")["orders"]
    assert route.upstream.host == f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
    assert route.upstream.scheme == "https"
    assert inbound.tls is not None
    (port,) = service["spec"]["ports"]
    (own,) = containers(documents("Deployment")["orders"]["spec"]["template"]["spec"])["idtoken-proxy"][
        "ports"
    ]
    assert (port["port"], port["targetPort"]) == (route.upstream.port, own["name"])
    assert own["containerPort"] == route.upstream.port


@pytest.mark.parametrize("name", ["login", "orders"])
def test_each_pod_is_let_in_under_the_restricted_standard_and_has_what_it_names(name: str) -> None:
    pod = documents("Deployment")[name]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] in documents("ServiceAccount")
    for container in containers(pod).values():
        context = container["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]
    sidecar = containers(pod)["idtoken-proxy"]
    assert sidecar["restartPolicy"] == "Always"
    config, secret = sidecar["volumeMounts"]
    assert f"{config['mountPath']}/proxy.yaml" in SEARCHED
    text = documents("ConfigMap")[f"{name}-idtoken-proxy"]["data"]["proxy.yaml"]
    assert f"{secret['mountPath']}/" in text
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {config["name"], secret["name"]} == volumes


def test_the_app_is_behind_its_sidecar_alone_and_its_probe_is_public(tmp_path: Path) -> None:
    (inbound,) = settings_of("orders", tmp_path).receive
    app = containers(documents("Deployment")["orders"]["spec"]["template"]["spec"])["app"]
    assert "ports" not in app
    assert app["env"] == [{"name": "LISTEN", "value": f"{inbound.upstream.host}:{inbound.upstream.port}"}]
    probe = app["readinessProbe"]["httpGet"]
    assert (probe["port"], probe["scheme"]) == (8443, "HTTPS")
    assert [rule.path for rule in inbound.rules if rule.invokers is None] == [probe["path"]]


def test_the_policies_let_the_caller_in_and_nobody_else() -> None:
    policies = documents("NetworkPolicy")
    labels = {
        name: deployment["spec"]["template"]["metadata"]["labels"]
        for name, deployment in documents("Deployment").items()
    }
    for name, policy in policies.items():
        assert policy["spec"]["podSelector"]["matchLabels"] == labels[name]
    (way_in,) = policies["orders"]["spec"]["ingress"]
    assert way_in["from"] == [{"podSelector": {"matchLabels": labels["login"]}}]
    assert [one["port"] for one in way_in["ports"]] == [8443]
    assert policies["orders"]["spec"]["policyTypes"] == ["Ingress", "Egress"]
    to_orders = policies["login"]["spec"]["egress"][-1]
    assert to_orders["to"] == [{"podSelector": {"matchLabels": labels["orders"]}}]
    assert to_orders["ports"] == way_in["ports"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    started = World(tmp_path_factory.mktemp("both-ends"), HERE, PORTS)
    try:
        yield started
    finally:
        started.stop()


@pytest.mark.thorough
def test_the_caller_gets_in_by_its_sidecar_and_not_without(world: World) -> None:
    process = world.start("login")
    told, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, world.log("login")
    assert told.splitlines() == [f"/42 was asked for by {LOGIN}", "without a token: 403"]
