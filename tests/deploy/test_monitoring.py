"""The dashboard and the alert rules use metrics and labels that there are, and no others."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from time import time
from typing import Any

import yaml

from idtoken_proxy.admin.metrics import ProxyCollector
from idtoken_proxy.engine.stats import LIMITS
from tests.cases import for_each
from tests.engine.conftest import Receive, Start, receive, start, token, token_file
from tests.engine.wire import answering, ok

__all__ = ["receive", "start", "token", "token_file"]  # fixtures

MONITORING = Path(__file__).parents[2] / "deploy" / "monitoring"
SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
    "summary": ("_sum", "_count"),
}
OF_PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
OF_SCRAPES = {"job", "instance", "le"}


def dashboard() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    return read


def rules() -> list[dict[str, Any]]:
    read = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
    return [rule for group in read["groups"] for rule in group["rules"]]


def expressions() -> Iterator[str]:
    board = dashboard()
    for panel in board["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (annotation["expr"] for annotation in board["annotations"]["list"])
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["definition"]
    yield from (rule["expr"] for rule in rules())


def metrics_of(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:idtoken_proxy|process)_[a-z0-9_]+\b", _bare(expression)))


def labels_of(expression: str) -> set[str]:
    grouped = re.findall(r"\bby \(([^)]*)\)", expression)
    matched = [label for braces in re.findall(r"\{([^}]*)\}", expression) for label in _matchers(braces)]
    return {label.strip() for group in grouped for label in group.split(",")} | set(matched)


def _matchers(braces: str) -> list[str]:
    return re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)", braces)


def _bare(expression: str) -> str:
    """Without strings."""
    return re.sub(r'"[^"]*"', '""', expression)


async def known(receive: Receive, start: Start) -> dict[str, set[str]]:
    """Labels, by the names of all samples that there can be."""
    proxied = await start(await receive(answering(ok())))
    found: dict[str, set[str]] = {}
    for family in ProxyCollector(proxied.server, time).collect():
        for suffix in SUFFIXES[family.type]:
            found[family.name + suffix] = set(family._labelnames)  # type: ignore[attr-defined]
    return found | {name: set() for name in OF_PROCESS}


async def test_every_metric_and_every_label_exists(receive: Receive, start: Start) -> None:
    there = await known(receive, start)
    used: set[str] = set()
    for expression in expressions():
        names = metrics_of(expression)
        assert names <= there.keys(), (names - there.keys(), expression)
        labels = set().union(*(there[name] for name in names)) | OF_SCRAPES
        assert labels_of(expression) <= labels, expression
        used |= names
    # And, the other way about, what is worth counting is worth showing.
    shown = {name.removesuffix("_total") for name in used}
    unseen = {name for name in there if name.removesuffix("_total") not in shown}
    assert unseen <= {
        "idtoken_proxy_draining",
        "idtoken_proxy_connections_accepted_total",
        "idtoken_proxy_request_duration_seconds_sum",
        "idtoken_proxy_request_duration_seconds_count",
    }


@for_each("expression", list(expressions()))
def test_brackets_are_closed(expression: str) -> None:
    left = re.sub(r"[^()\[\]{}]", "", _bare(expression).replace("${", "{"))
    while left != (left := re.sub(r"\(\)|\[\]|\{\}", "", left)):
        pass
    assert left == ""


def test_labels_with_a_value_use_values_that_there_are() -> None:
    text = "\n".join(expressions())
    assert set(re.findall(r'status="([^"]*)"', text)) == {"5xx"}
    assert set(re.findall(r'\blimit="([^"]*)"', text)) <= LIMITS.keys()
    kinds = {kind for group in re.findall(r'kind=~"([^"]*)"', text) for kind in group.split("|")}
    assert kinds == {"connect_failed", "tls_failed", "upstream_timeout"}


def test_every_alert_says_how_bad_it_is_and_what_it_means() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) >= 10
    for rule in rules():
        assert re.fullmatch(r"IdTokenProxy[A-Za-z]+", rule["alert"])
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert set(rule["annotations"]) == {"summary", "description"}
        assert re.fullmatch(r"\d+m", rule.get("for", "1m"))
        # What a text names is a label that the expression leaves.
        named = set(re.findall(r"\$labels\.([a-z_]+)", str(rule["annotations"])))
        grouped = re.findall(r"\bby \(([^)]*)\)", rule["expr"])
        if grouped:
            assert named <= {label.strip() for label in grouped[-1].split(",")}, rule["alert"]


def test_panels_have_their_places() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = set(
            itertools.product(
                range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
            )
        )
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or panel["description"]
