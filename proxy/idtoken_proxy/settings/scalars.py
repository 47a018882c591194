"""Types of single values in the configuration file: how each is parsed, and its JSON Schema."""

from __future__ import annotations

from typing import Final

from idtoken_proxy.settings import addresses, egress, invokers, model, names, services, urls, values
from idtoken_proxy.settings.plausible import url_path_objection
from idtoken_proxy.settings.schema_dsl import Scalar, choice_of

_STRING: Final = {"type": "string", "minLength": 1}


def _pattern(pattern: str) -> dict[str, str]:
    return {"type": "string", "pattern": f"^{pattern}$"}


BOOLEAN: Final = Scalar(values.boolean, {"type": "boolean"})
SWITCH: Final = Scalar(values.switch, {"type": "string", "enum": ["on", "off"]}, {"type": "boolean"})
DURATION: Final = Scalar(
    values.duration,
    {"type": "number", "exclusiveMinimum": 0, "maximum": values.LONGEST},
    _pattern(rf"(?=.)({values.DURATION}|[0-9.]+)"),
)
DELAY: Final = Scalar(
    values.delay,
    {"type": "number", "minimum": 0, "maximum": values.LONGEST},
    _pattern(rf"(?=.)({values.DURATION}|[0-9.]+)"),
)
HEADER_BYTES: Final = Scalar(
    values.header_bytes, {"type": "integer", "minimum": 1024, "maximum": 1024**2}, _pattern(values.SIZE)
)
CONNECTIONS: Final = Scalar(values.connections, {"type": "integer", "minimum": 1, "maximum": 1_000_000})
SERVICES: Final = Scalar(values.services, {"type": "integer", "minimum": 1, "maximum": 1024})
UID: Final = Scalar(values.uid, {"type": "integer", "minimum": 0, "maximum": 2**32 - 2})
LISTEN: Final = Scalar(addresses.listen_address, _STRING)
ADMIN: Final = Scalar(addresses.admin_address, _STRING, {"const": False})
UPSTREAM: Final = Scalar(services.upstream_or_services, _pattern("[Hh][Tt][Tt][Pp][Ss]?://[^?#@]+"))
URL_PATH: Final = Scalar(urls.path, _pattern(r"/[^?#%\\]*"), refuse=url_path_objection)
ENDPOINT: Final = Scalar(urls.endpoint, _pattern("[Hh][Tt][Tt][Pp][Ss]?://[^?#@]+"))
EGRESS_PROXY: Final = Scalar(
    egress.egress_proxy,
    _pattern(r"[Hh][Tt][Tt][Pp]://([^/?#@\\]*:[^/?#@\\]*@)?[^/?#@\\]+:[0-9]{1,5}/?"),
    refuse=None,  # holds a password, and egress.py repeats nothing
)
COLLECTOR: Final = Scalar(urls.collector, _pattern("[Hh][Tt][Tt][Pp][Ss]?://[^?#@]+"))
RATIO: Final = Scalar(values.ratio, {"type": "number", "minimum": 0, "maximum": 1})
PAGE_ORIGIN: Final = Scalar(urls.origin, _pattern("[a-z][a-z0-9+.-]*://[^/?#@]+"))
PROXY_RANGE: Final = Scalar(addresses.proxy_range, _STRING)
HOST_NAME: Final = Scalar(addresses.host_only, _STRING)
UNIVERSE: Final = Scalar(addresses.universe_domain, _STRING)
MATCH_HOST: Final = Scalar(services.match_host, _STRING)
HOST_PORT: Final = Scalar(addresses.host_and_port, _STRING)
ROUTE_NAME: Final = Scalar(names.route_name, _pattern(names.ROUTE_NAME))
METHOD: Final = Scalar(names.method, _pattern(f"(?!CONNECT$|TRACE$){names.METHOD}"))
HEADER_NAME: Final = Scalar(names.header, _pattern(names.HEADER))
SCOPE: Final = Scalar(names.scope, _pattern(names.SCOPE))
PROJECT: Final = Scalar(names.project, _STRING)
TOKEN: Final = choice_of("id", "access")
AUDIENCE: Final = Scalar(names.audience, _pattern("[!-~]+"), refuse=url_path_objection)
TOKEN_HEADER: Final = choice_of(*(header.value for header in model.TokenHeader))
PROTOCOL: Final = choice_of(*(protocol.value for protocol in model.UpstreamProtocol))
INVOKER: Final = Scalar(
    invokers.invoker,
    _pattern(f"({invokers.INVOKER})"),
    {
        "type": "object",
        "properties": {"principal": {"type": ["string", "integer"]}, "issuer": _STRING},
        "required": ["principal", "issuer"],
        "additionalProperties": False,
    },
    refuse=invokers.invoker_objection,
)
_OWN_INVOKERS: Final = {"type": "array", "minItems": 1, "items": {"anyOf": list(INVOKER.forms)}}
PATH_RULES: Final = Scalar(
    invokers.path_rules,
    {
        "type": "object",
        "propertyNames": {"pattern": r"^/[^?#%\\]+$"},
        "additionalProperties": {"anyOf": [{"const": invokers.PUBLIC}, _OWN_INVOKERS]},
    },
)
ISSUER: Final = Scalar(
    invokers.issuer, {"enum": list(invokers.WORDS)}, _pattern("[Hh][Tt][Tt][Pp][Ss]?://[^?#@]+")
)
APP: Final = Scalar(urls.upstream, _pattern("[Hh][Tt][Tt][Pp][Ss]?://[^?#@]+"))
LOG_FORMAT: Final = choice_of("auto", "text", "json")
LOG_LEVEL: Final = choice_of("debug", "info", "warning", "error")
LOG_ACCESS: Final = choice_of("off", "errors", "all")
