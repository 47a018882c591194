"""Octets of every known kind, and of none."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from idtoken_proxy.errors import ConfigError
from idtoken_proxy.init.inventory import LONGEST, MOST, read, receivers_of
from tests.cases import for_each
from tests.init.recorded import FUNCTIONS, SERVICES, service

MANIFEST = """\
apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  name: checkout
  namespace: '123456789012'
  labels: {cloud.googleapis.com/location: europe-west1}
spec:
  template:
    spec:
      containers:
        - env: [{name: ORDERS, value: https://orders-x7f3kq-uc.a.run.app}]
"""


def names(content: str | bytes) -> list[str]:
    data = content.encode() if isinstance(content, str) else content
    return [one.name for one in receivers_of("file", data)]


def test_each_known_kind() -> None:
    assert names(SERVICES.read_bytes()) == ["orders", "orders-next", "admin", "ledger", "website"]
    assert names(FUNCTIONS.read_bytes()) == ["resize_Image", "tally", "on-upload"]
    assert names(MANIFEST) == ["checkout", "orders"]
    assert names("services: {app: {environment: [A=https://a-x-uc.a.run.app]}}") == ["a"]
    assert names(json.dumps({"items": [service("ledger")]})) == ["ledger"]
    assert names(json.dumps(service("ledger"))) == ["ledger"]
    assert names("[]") == []


@for_each(
    "case",
    [
        ("", "file: is empty"),
        ("[", "file:1: not valid JSON"),
        ("[" * 100_000, "file: not valid JSON: nested too deeply"),
        ("[7]", "file: item 1: is none of these"),
        ('[{"metadata": {"name": "x\\u001b[2J"}}]', "file: item 1: is none of these"),
        ('[{"kind": "Pod", "metadata": {"name": "web"}}]', "file: item 1 (web): is none of these"),
        ("just text", "file: is none of these"),
        ("a: [", "file:1: not valid YAML"),
        ("a: 1\na: 2", "file:2: duplicate key"),
        ("a: b\n---\nc: d", "file:2: not valid YAML"),
        ("a: " + "[" * 99 + "]" * 99, "nested too deeply"),
        (b"\xff", "file:1: is not UTF-8 text"),
        ("#" * (1024 * 1024 + 1), "file: is longer than 1 MiB"),
        (b" " * (LONGEST + 1), "file: is longer than 16 MiB"),
    ],
    ids=lambda case: case[1],
)
def test_strange_input_is_an_error_that_names_its_place(case: tuple[str | bytes, str]) -> None:
    content, said = case
    with pytest.raises(ConfigError) as refused:
        names(content)
    assert said in str(refused.value)
    assert "\x1b" not in str(refused.value)


def test_no_more_receivers_than_a_project_has() -> None:
    values: list[Any] = [f"A{n}=https://a{n}-x-uc.a.run.app" for n in range(MOST + 1)]
    with pytest.raises(ConfigError, match="more than 1000 receivers"):
        names(json.dumps({"services": {"app": {"environment": values}}}))


def test_a_pipe_will_do_and_so_will_standard_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    os.write(theirs, b"[]")
    os.close(theirs)
    path = f"/dev/fd/{ours}"
    assert read(path) == (path, b"[]")
    os.close(ours)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"{}")))
    assert read("-") == ("standard input", b"{}")
    for path, said in ((str(tmp_path), "Is a directory"), ("gone.json", "No such file"), ("a\0b", "NUL")):
        with pytest.raises(ConfigError, match=said):
            read(path)
