"""Whether spans are exported, and where to: the key, and OpenTelemetry's variables where that leaves something out."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from idtoken_proxy.errors import ConfigError
from idtoken_proxy.settings.document import Tracing
from idtoken_proxy.settings.load import settings_from_text
from idtoken_proxy.settings.model import EgressProxy, TracingSettings
from idtoken_proxy.settings.tracing import is_installed, wanted
from idtoken_proxy.settings.variables import BY_LIBRARIES, READ
from tests.cases import for_each

ROUTES = "routes: [{name: a, upstream: https://a-x7f3kq-uc.a.run.app}]\n"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
THERE = {ENDPOINT: "http://collector:4318"}


def test_nothing_is_said_and_nothing_is_exported() -> None:
    assert wanted(None, {}) == (None, ())


@for_each(
    ("said", "environ", "endpoint"),
    [
        (None, THERE, "http://collector:4318/v1/traces"),
        (None, {ENDPOINT: "https://collector/otlp/"}, "https://collector/otlp/v1/traces"),
        (None, {**THERE, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://spans:1/x"}, "http://spans:1/x"),
        (Tracing(), {}, "http://localhost:4318/v1/traces"),
        (Tracing(), THERE, "http://collector:4318/v1/traces"),
        (Tracing(endpoint="http://mine:4318"), THERE, "http://mine:4318/v1/traces"),
        (Tracing(endpoint="http://mine:4318/v1/traces"), {}, "http://mine:4318/v1/traces"),
        # The key asks for them, and its endpoint is not the variables'.
        (
            Tracing(endpoint="http://mine:4318"),
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "http://mine:4318/v1/traces",
        ),
        (Tracing(), {"OTEL_TRACES_EXPORTER": "none"}, "http://localhost:4318/v1/traces"),
    ],
)
def test_where_to(said: Tracing | None, environ: dict[str, str], endpoint: str) -> None:
    assert wanted(said, environ).settings == TracingSettings(endpoint)


@for_each(
    ("said", "environ"),
    [
        (None, {**THERE, "OTEL_SDK_DISABLED": "true"}),
        (Tracing(), {"OTEL_SDK_DISABLED": "TRUE"}),
        (Tracing(enabled=False), THERE),
        (None, {**THERE, "OTEL_TRACES_EXPORTER": "none"}),
        (None, {**THERE, "OTEL_TRACES_SAMPLER": "always_off"}),
        (None, {"OTEL_TRACES_SAMPLER": "nonsense"}),
    ],
)
def test_what_turns_it_off(said: Tracing | None, environ: dict[str, str]) -> None:
    assert wanted(said, environ) == (None, ())


@for_each(
    ("said", "sampler", "argument", "sampled"),
    [
        (None, "", "", (1.0, True)),
        (None, "always_on", "", (1.0, False)),
        (None, "traceidratio", "0.25", (0.25, False)),
        (None, "parentbased_traceidratio", "0.25", (0.25, True)),
        (None, "parentbased_traceidratio", "", (1.0, True)),
        (None, "parentbased_always_off", "", (0.0, True)),
        (0.5, "always_off", "", (0.5, True)),
        (0.0, "", "", (0.0, True)),
    ],
)
def test_which_share(said: float | None, sampler: str, argument: str, sampled: tuple[float, bool]) -> None:
    key = None if said is None else Tracing(sample=said)
    found = wanted(
        key, {**THERE, "OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument}
    ).settings
    assert found is not None
    assert (found.sample, found.follows) == sampled


def test_the_way_out_is_for_who_is_elsewhere() -> None:
    egress = EgressProxy("proxy", 3128)
    for endpoint, through in (
        ("https://otlp.example", egress),
        ("https://localhost:4318", None),
        ("http://collector:4318", None),
    ):
        found = wanted(Tracing(endpoint=endpoint), {}, egress).settings
        assert found is not None
        assert found.egress_proxy == through


@for_each(
    ("environ", "variable", "words"),
    [
        ({ENDPOINT: "collector:4317"}, ENDPOINT, "must be a URL such as http://localhost:4318"),
        ({ENDPOINT: "http://a:hunter2@b"}, ENDPOINT, "no secret belongs here"),
        ({ENDPOINT: "http://b/?key=x"}, ENDPOINT, "remove the query"),
        ({ENDPOINT: "http://metadata.google.internal"}, ENDPOINT, "metadata server"),
        (
            {**THERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "http/protobuf alone",
        ),
        ({**THERE, "OTEL_TRACES_SAMPLER": "parentbased_alway_on"}, "OTEL_TRACES_SAMPLER", "did you mean"),
        (
            {**THERE, "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"},
            "OTEL_TRACES_SAMPLER_ARG",
            "from 0 to 1",
        ),
    ],
)
def test_a_variable_that_is_mistaken_fails_who_asked_by_the_key_and_nobody_else(
    environ: dict[str, str], variable: str, words: str
) -> None:
    """Whoever sets it for the app may not think of the proxy."""
    settings = settings_from_text(ROUTES, "proxy.yaml", environ)
    assert settings.tracing is None
    (doubt,) = settings.warnings
    assert doubt.file == variable
    assert words in doubt.message
    with pytest.raises(ConfigError) as caught:
        settings_from_text(ROUTES + "tracing: {}", "proxy.yaml", environ)
    assert variable in str(caught.value)
    assert words in str(caught.value)
    assert "hunter2" not in doubt.message + str(caught.value)


def test_what_the_documentation_shows_is_taken() -> None:
    text = (Path(__file__).parents[2] / "docs" / "tracing.md").read_text()
    (shown,) = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert settings_from_text(ROUTES + shown, "proxy.yaml", {}).tracing == TracingSettings(sample=0.1)
    named = set(re.findall(r"\bOTEL_[A-Z_]+[A-Z]\b", text)) - {"OTEL_BSP_MAX_QUEUE_SIZE"}
    assert named <= set(READ) | set(BY_LIBRARIES)


def test_the_extra_is_named_where_it_is_missing() -> None:
    _, ((variable, message),) = wanted(Tracing(), {}, installed=lambda: False)
    assert variable == ""
    assert message == "needs the extra otel, which is not installed: pip install 'idtoken-proxy[otel]'"
    assert wanted(None, THERE, installed=lambda: False).mistakes == ((ENDPOINT, message),)
    assert is_installed()
    assert find_spec("opentelemetry.sdk") is not None


@for_each(
    ("line", "words"),
    [
        ("tracing: {endpoint: localhost}", "proxy.yaml:2: tracing.endpoint: must be a URL such as"),
        ("tracing: {sample: 2}", "proxy.yaml:2: tracing.sample: must be a number from 0 to 1, not 2"),
        ("tracing: {sample: yes}", "tracing.sample: must be a number from 0 to 1"),
        ("tracing: {ratio: 1}", "tracing.ratio: unknown key"),
        ("tracing: on", "tracing: must be a mapping"),
    ],
)
def test_mistakes_of_the_file(line: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_from_text(ROUTES + line, "proxy.yaml", {})
    assert words in str(caught.value)
