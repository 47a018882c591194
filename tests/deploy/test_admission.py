"""deploy/admission/: a policy in CEL, against Kubernetes' schemas, and run by a CEL of its own on pods as they come."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from kubernetes_validate.utils import ValidationError, validate

from tests.deploy.installed import install
from tests.deploy.sidecar import DEPLOY, VOLUME, documents, sidecar

POLICY, BINDING = documents(DEPLOY / "admission" / "policy.yaml")
(MUTATION,) = POLICY["spec"]["mutations"]
EXPRESSION = MUTATION["jsonPatch"]["expression"]
(CONDITION,) = POLICY["spec"]["matchConditions"]
IMAGE = "IDTOKEN_PROXY_IMAGE"
FIRST = "1.36"  # with the policy as v1


def test_fits_the_schema() -> None:
    for document in (POLICY, BINDING):
        validate(document, FIRST, strict=True)
    changed = {**POLICY, "spec": {**POLICY["spec"], "mutation": []}}
    with pytest.raises(ValidationError, match="mutation"):
        validate(changed, FIRST, strict=True)


def test_only_who_asks_for_it_where_it_is_allowed_gets_it() -> None:
    spec = POLICY["spec"]
    assert spec["failurePolicy"] == "Fail"
    assert spec["matchConstraints"]["objectSelector"] == {"matchLabels": {"idtoken-proxy": "inject"}}
    assert BINDING["spec"]["policyName"] == POLICY["metadata"]["name"]
    assert BINDING["spec"]["matchResources"]["namespaceSelector"]["matchLabels"] == {
        "idtoken-proxy": "allowed"
    }


def test_each_object_is_of_the_type_of_its_place() -> None:
    """The API server refuses others: an object's type is its path, without what is a list's."""
    open_: list[str] = []
    fields = 0
    for mark in re.finditer(r"(?:(\w+): \[?)?((?:Object|JSONPatch)[\w.]*)?\{|\}", EXPRESSION):
        if mark[0] == "}":
            open_.pop()
            continue
        field, kind = mark[1], mark[2] or ""
        if field is not None and field != "value" and kind:
            assert kind == f"{open_[-1]}.{field}"
            fields += 1
        open_.append(kind)
    assert open_ == []
    assert fields > 10


# -- as an API server would -------------------------------------------------------------

EVALUATE = "import cel, json, sys; print(json.dumps(cel.evaluate(*json.load(sys.stdin))))"


@pytest.fixture(scope="module")
def cel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("cel"), "common-expression-language") / "python"


def evaluated(cel: Path, expression: str, pod: dict[str, Any]) -> Any:
    """An object's type is for the API server's checks alone; its value is a map."""
    untyped = re.sub(r"(?:Object|JSONPatch)[\w.]*\{", "{", expression)
    plain = re.sub(r"([{,]\s*)(\w+): ", r'\1"\2": ', untyped)
    asked = json.dumps([plain, {"object": pod}])
    answer = subprocess.run(
        [str(cel), "-c", EVALUATE], input=asked, capture_output=True, text=True, check=True, timeout=30
    )
    return json.loads(answer.stdout)


def patched(pod: dict[str, Any], operations: list[dict[str, Any]]) -> dict[str, Any]:
    """RFC 6902, as far as `add` goes."""
    for operation in operations:
        assert operation["op"] == "add"
        *way, last = operation["path"].split("/")[1:]
        place: Any = pod
        for key in way:
            place = place[key]
        if isinstance(place, list):
            place.insert(len(place) if last == "-" else int(last), operation["value"])
        else:
            assert last not in place
            place[last] = operation["value"]
    return pod


def pod_with(**spec: Any) -> dict[str, Any]:
    app = {"name": "app", "image": "some"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "it"},
        "spec": {"containers": [app], **spec},
    }


@pytest.mark.index
def test_a_pod_gets_the_sidecar_of_the_other_manifests_first_of_all(cel: Path) -> None:
    others = [{"name": "migrate", "image": "some"}]
    volumes = [{"name": "scratch", "emptyDir": {}}]
    both: dict[str, Any] = {"initContainers": others, "volumes": volumes}
    for keys in ((), ("initContainers",), ("volumes",), ("initContainers", "volumes")):
        spec = {key: both[key] for key in keys}
        pod = pod_with(**json.loads(json.dumps(spec)))
        made = patched(pod, evaluated(cel, EXPRESSION, pod))
        validate(made, FIRST, strict=True)
        assert made["spec"]["initContainers"] == [sidecar(IMAGE), *spec.get("initContainers", [])]
        assert made["spec"]["volumes"] == [*spec.get("volumes", []), VOLUME]
        assert made["spec"]["containers"] == pod_with()["spec"]["containers"]


@pytest.mark.index
def test_a_pod_that_has_it_already_is_left_alone(cel: Path) -> None:
    expression = CONDITION["expression"]
    assert evaluated(cel, expression, pod_with()) is True
    assert evaluated(cel, expression, pod_with(initContainers=[{"name": "migrate"}])) is True
    assert evaluated(cel, expression, pod_with(initContainers=[{"name": "a"}, sidecar(IMAGE)])) is False
