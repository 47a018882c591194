"""Whether spans are exported, and where to: the key `tracing`, and OpenTelemetry's own variables.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ and .../protocol/exporter/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from idtoken_proxy.settings import urls, values
from idtoken_proxy.settings.addresses import is_loopback
from idtoken_proxy.settings.document import Tracing
from idtoken_proxy.settings.mistakes import choice
from idtoken_proxy.settings.model import EgressProxy, TracingSettings
from idtoken_proxy.settings.plausible import objection, shown

_SPANS: Final = "/v1/traces"
_EXPORTER: Final = "opentelemetry.exporter.otlp.proto.http"
_HTTP: Final = "http/protobuf"
INSTALL: Final = "pip install 'idtoken-proxy[otel]'"
_MISSING: Final = f"needs the extra otel, which is not installed: {INSTALL}"

# By $OTEL_TRACES_SAMPLER: the share of traces that begin here (None: $OTEL_TRACES_SAMPLER_ARG), and whether the app's own
# span decides where it brings one.
_SAMPLERS: Final[Mapping[str, tuple[float | None, bool]]] = {
    "always_on": (1.0, False),
    "always_off": (0.0, False),
    "traceidratio": (None, False),
    "parentbased_always_on": (1.0, True),
    "parentbased_always_off": (0.0, True),
    "parentbased_traceidratio": (None, True),
}


class Wanted(NamedTuple):
    """`settings`: None where nothing is exported. `mistakes`: (the variable that is mistaken, or "" for the key itself, what is
    wrong); then there are no settings.
    """

    settings: TracingSettings | None = None
    mistakes: tuple[tuple[str, str], ...] = ()


def is_installed() -> bool:
    """Whether there is what exports; nothing of it is run."""
    from importlib.util import find_spec  # noqa: PLC0415 -- where nobody asks for it, a millisecond of the start

    try:
        return find_spec(_EXPORTER) is not None and find_spec("opentelemetry.sdk.trace") is not None
    except ImportError:
        return False


def wanted(
    said: Tracing | None,
    environ: Mapping[str, str],
    egress: EgressProxy | None = None,
    installed: Callable[[], bool] = is_installed,
) -> Wanted:
    """`said`: the file's. What it leaves out the variables say; without it, they alone. `egress`: the way out of this network,
    which is the way to a collector elsewhere that is reached by https; by http they are near.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Wanted()
    if said is not None and not said.enabled:
        return Wanted()
    mistakes: list[tuple[str, str]] = []
    endpoint: str | None = None
    if said is not None and said.endpoint is not None:
        endpoint = said.endpoint if said.endpoint.endswith(_SPANS) else said.endpoint + _SPANS
    else:
        try:
            endpoint = _of_variables(environ, asked=said is not None)
        except _Mistaken as error:
            mistakes.append((error.variable, error.message))
        if endpoint is None and said is not None:
            endpoint = TracingSettings().endpoint
    if endpoint is None and not mistakes:
        return Wanted()
    sample, follows = 1.0, True
    if said is not None and said.sample is not None:
        sample = said.sample
    else:
        try:
            sample, follows = _sampler(environ)
        except _Mistaken as error:
            mistakes.append((error.variable, error.message))
    if not sample and not follows:
        return Wanted(mistakes=tuple(mistakes))
    if not installed():
        asking = "" if said is not None else next(name for name, value, _ in _endpoints(environ) if value)
        mistakes.append((asking, _MISSING))
    if mistakes or endpoint is None:
        return Wanted(mistakes=tuple(mistakes))
    url = urlsplit(endpoint)
    if url.scheme == "http" or is_loopback(url.hostname or ""):
        egress = None
    return Wanted(TracingSettings(endpoint, sample, follows=follows, egress_proxy=egress))


class _Mistaken(Exception):
    def __init__(self, variable: str, message: str) -> None:
        super().__init__()
        self.variable, self.message = variable, message


def _of_variables(environ: Mapping[str, str], *, asked: bool) -> str | None:
    """The URL that spans are for. `asked`: by the file, so that OTEL_TRACES_EXPORTER is not."""
    exporters = {one.strip() for one in environ.get("OTEL_TRACES_EXPORTER", "").split(",")} - {""}
    if exporters and "otlp" not in exporters and not asked:
        return None
    for variable, said, spans in _endpoints(environ):
        if said:
            _check_protocol(environ)
            refused = objection(said)
            if refused is not None:
                raise _Mistaken(variable, refused)
            try:
                return urls.collector(said) + spans
            except ValueError as error:
                raise _Mistaken(variable, str(error)) from None
    return None


def _endpoints(environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """(variable, what it says, what is added to that): the first that says something counts."""
    of_spans = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
    yield "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", of_spans, ""
    yield "OTEL_EXPORTER_OTLP_ENDPOINT", environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""), _SPANS


def _check_protocol(environ: Mapping[str, str]) -> None:
    said = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "")
    variable = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL" if said else "OTEL_EXPORTER_OTLP_PROTOCOL"
    said = said or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "")
    if said and said != _HTTP:
        raise _Mistaken(
            variable,
            f"spans are exported by {_HTTP} alone, not by {shown(said)}; name the collector's port for that, most often 4318, "
            "in tracing: {endpoint: http://HOST:4318}",
        )


def _sampler(environ: Mapping[str, str]) -> tuple[float, bool]:
    name = environ.get("OTEL_TRACES_SAMPLER", "").strip() or "parentbased_always_on"
    if name not in _SAMPLERS:
        raise _Mistaken("OTEL_TRACES_SAMPLER", choice(name, tuple(_SAMPLERS)))
    ratio, follows = _SAMPLERS[name]
    if ratio is None:
        said = environ.get("OTEL_TRACES_SAMPLER_ARG", "").strip()
        try:
            ratio = values.ratio(float(said or 1))
        except ValueError:
            raise _Mistaken(
                "OTEL_TRACES_SAMPLER_ARG", f"must be a number from 0 to 1, not {shown(said)}"
            ) from None
    return ratio, follows
