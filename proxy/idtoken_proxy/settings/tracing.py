"""Whether and where spans are exported: the key `tracing`, and OpenTelemetry's variables.

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

# By $OTEL_TRACES_SAMPLER: the share of the traces begun here (None: $OTEL_TRACES_SAMPLER_ARG), and whether the sampling
# of a span that the app sends decides.
_SAMPLERS: Final[Mapping[str, tuple[float | None, bool]]] = {
    "always_on": (1.0, False),
    "always_off": (0.0, False),
    "traceidratio": (None, False),
    "parentbased_always_on": (1.0, True),
    "parentbased_always_off": (0.0, True),
    "parentbased_traceidratio": (None, True),
}


class Wanted(NamedTuple):
    """`settings`: None if nothing is exported. `mistakes`: (the mistaken variable, or "" for the key itself; the
    message). With mistakes there are no settings.
    """

    settings: TracingSettings | None = None
    mistakes: tuple[tuple[str, str], ...] = ()


def is_installed() -> bool:
    """Whether the exporter's packages are installed. Imports none of them."""
    from importlib.util import find_spec  # noqa: PLC0415 -- where nobody asks for it, a millisecond of the start

    try:
        return find_spec(_EXPORTER) is not None and find_spec("opentelemetry.sdk.trace") is not None
    except ImportError:
        return False


def wanted(
    section: Tracing | None,
    environ: Mapping[str, str],
    egress: EgressProxy | None = None,
    installed: Callable[[], bool] = is_installed,
) -> Wanted:
    """`section`: the file's. Variables supply what it leaves out, or everything without it. `egress`: the network's
    egress proxy, which leads to a collector elsewhere if that is reached by https; one reached by http is near.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Wanted()
    if section is not None and not section.enabled:
        return Wanted()
    mistakes: list[tuple[str, str]] = []
    endpoint: str | None = None
    if section is not None and section.endpoint is not None:
        endpoint = section.endpoint if section.endpoint.endswith(_SPANS) else section.endpoint + _SPANS
    else:
        try:
            endpoint = _of_variables(environ, asked=section is not None)
        except _Mistaken as error:
            mistakes.append((error.variable, error.message))
        if endpoint is None and section is not None:
            endpoint = TracingSettings().endpoint
    if endpoint is None and not mistakes:
        return Wanted()
    sample, follows = 1.0, True
    if section is not None and section.sample is not None:
        sample = section.sample
    else:
        try:
            sample, follows = _sampler(environ)
        except _Mistaken as error:
            mistakes.append((error.variable, error.message))
    if not sample and not follows:
        return Wanted(mistakes=tuple(mistakes))
    if not installed():
        asking = "" if section is not None else next(name for name, value, _ in _endpoints(environ) if value)
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
    """The URL to send spans to. `asked`: the file asks for spans, so OTEL_TRACES_EXPORTER need not."""
    exporters = {one.strip() for one in environ.get("OTEL_TRACES_EXPORTER", "").split(",")} - {""}
    if exporters and "otlp" not in exporters and not asked:
        return None
    for variable, url, spans in _endpoints(environ):
        if url:
            _check_protocol(environ)
            refused = objection(url)
            if refused is not None:
                raise _Mistaken(variable, refused)
            try:
                return urls.collector(url) + spans
            except ValueError as error:
                raise _Mistaken(variable, str(error)) from None
    return None


def _endpoints(environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """(variable, its value, what is appended to that). The first with a value counts."""
    of_spans = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
    yield "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", of_spans, ""
    yield "OTEL_EXPORTER_OTLP_ENDPOINT", environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""), _SPANS


def _check_protocol(environ: Mapping[str, str]) -> None:
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "")
    variable = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL" if protocol else "OTEL_EXPORTER_OTLP_PROTOCOL"
    protocol = protocol or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "")
    if protocol and protocol != _HTTP:
        raise _Mistaken(
            variable,
            f"spans are exported by {_HTTP} alone, not by {shown(protocol)}; name the collector's port for that, most often 4318, "
            "in tracing: {endpoint: http://HOST:4318}",
        )


def _sampler(environ: Mapping[str, str]) -> tuple[float, bool]:
    name = environ.get("OTEL_TRACES_SAMPLER", "").strip() or "parentbased_always_on"
    if name not in _SAMPLERS:
        raise _Mistaken("OTEL_TRACES_SAMPLER", choice(name, tuple(_SAMPLERS)))
    ratio, follows = _SAMPLERS[name]
    if ratio is None:
        argument = environ.get("OTEL_TRACES_SAMPLER_ARG", "").strip()
        try:
            ratio = values.ratio(float(argument or 1))
        except ValueError:
            raise _Mistaken(
                "OTEL_TRACES_SAMPLER_ARG", f"must be a number from 0 to 1, not {shown(argument)}"
            ) from None
    return ratio, follows
