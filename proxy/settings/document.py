"""The configuration file's shape: what each key takes, said once for validation and for the JSON Schema.

Defaults stand in model.py.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

from proxy.settings import addresses, egress, model, names, urls, values
from proxy.settings.entry import Entry
from proxy.settings.identities import BY_TYPE, Identity, Path

_TIMEOUTS = model.Timeouts()
_LIMITS = model.Limits()
_GUARD = model.GuardSettings()
_LOG = model.LogSettings()
_STRING: dict[str, Any] = {"type": "string", "minLength": 1}


def _pattern(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$"})


Duration: TypeAlias = Annotated[
    float,
    PlainValidator(values.duration),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0, "maximum": values.LONGEST},
                {"type": "string", "pattern": rf"^(?=.)({values.DURATION}|[0-9.]+)$"},
            ]
        }
    ),
]
HeaderBytes: TypeAlias = Annotated[
    int,
    PlainValidator(values.header_bytes),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1024, "maximum": 1024**2},
                {"type": "string", "pattern": f"^{values.SIZE}$"},
            ]
        }
    ),
]
Connections: TypeAlias = Annotated[
    int,
    PlainValidator(values.connections),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 1_000_000}),
]
Listen: TypeAlias = Annotated[
    model.Address, PlainValidator(addresses.listen_address), WithJsonSchema(_STRING)
]
Admin: TypeAlias = Annotated[
    model.Address | None,
    PlainValidator(addresses.admin_address),
    WithJsonSchema({"anyOf": [_STRING, {"const": False}]}),
]
Upstream: TypeAlias = Annotated[
    model.Upstream, PlainValidator(urls.upstream), _pattern("[Hh][Tt][Tt][Pp][Ss]?://[^?#@]+")
]
UrlPath: TypeAlias = Annotated[str, PlainValidator(urls.path), _pattern(r"/[^?#%\\]*")]
Endpoint: TypeAlias = Annotated[
    str, PlainValidator(urls.endpoint), _pattern("[Hh][Tt][Tt][Pp][Ss]?://[^?#@]+")
]
EgressProxy: TypeAlias = Annotated[
    model.EgressProxy,
    PlainValidator(egress.egress_proxy),
    _pattern(r"[Hh][Tt][Tt][Pp]://([^/?#@\\]*:[^/?#@\\]*@)?[^/?#@\\]+:[0-9]{1,5}/?"),
]
PageOrigin: TypeAlias = Annotated[str, PlainValidator(urls.origin), _pattern("[a-z][a-z0-9+.-]*://[^/?#@]+")]
HostName: TypeAlias = Annotated[str, PlainValidator(addresses.host_only), WithJsonSchema(_STRING)]
HostPort: TypeAlias = Annotated[str, PlainValidator(addresses.host_and_port), WithJsonSchema(_STRING)]
RouteName: TypeAlias = Annotated[str, PlainValidator(names.route_name), _pattern(names.ROUTE_NAME)]
Method: TypeAlias = Annotated[
    str, PlainValidator(names.method), _pattern(f"(?!CONNECT$|TRACE$){names.METHOD}")
]
HeaderName: TypeAlias = Annotated[str, PlainValidator(names.header), _pattern(names.HEADER)]
Uid: TypeAlias = Annotated[
    int, PlainValidator(values.uid), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 2**32 - 2})
]
Audience: TypeAlias = Annotated[str, PlainValidator(names.audience), _pattern("[!-~]+")]


def _one_or_more(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _default(shown: object) -> dict[str, Any]:
    """A default as a file would say it."""
    return {"default": shown}


class Match(Entry):
    """Which requests take the route."""

    path: UrlPath = Field(default="/", description="A prefix of whole segments; the longest wins.")
    host: HostName | None = Field(
        default=None, description="A host name, such as profiles.localhost. Left out: any."
    )


class RouteTimeouts(Entry):
    """In place of the top-level ones, for this route."""

    connect: Duration = Field(default=_TIMEOUTS.connect, description="To reach the receiver, TLS included.")
    response: Duration = Field(
        default=_TIMEOUTS.response, description="From the request's end to the response's head."
    )
    idle: Duration = Field(
        default=_TIMEOUTS.idle, description="Without a byte either way, in a body or a WebSocket."
    )
    keepalive: Duration = Field(default=_TIMEOUTS.keepalive, description="Of an idle connection.")


class Timeouts(RouteTimeouts):
    """Times: 500ms, 5s, 10m, 1h, or a number of seconds."""

    header: Duration = Field(
        default=_TIMEOUTS.header, description="From a request's first byte to the end of its head."
    )
    drain: Duration = Field(default=_TIMEOUTS.drain, description="For requests in flight, at the end.")


class RouteEntry(Entry):
    """Requests that match go to one receiver, with an ID token for its audience."""

    name: RouteName = Field(description="Unique; names the route in logs, metrics and errors.")
    upstream: Upstream = Field(description="The receiver: https, or http on loopback. May carry a base path.")
    match: Match = Field(default=Match(), description="Which requests take the route; default all.")
    audience: Audience | None = Field(
        default=None,
        description="Whom the token is for. Derived for *.run.app, *.cloudfunctions.net and loopback.",
    )
    strip_prefix: bool = Field(
        default=False, description="Whether match.path is taken off before the upstream."
    )
    token_header: Literal["auto", "Authorization", "X-Serverless-Authorization", "Proxy-Authorization"] = (
        Field(
            default="auto",
            description="Where the token goes. auto: Authorization, unless the app uses that itself.",
        )
    )
    identity: Identity | None = Field(default=None, description="Where this route's tokens come from.")
    methods: list[Method] | None = Field(
        default=None,
        min_length=1,
        description="The methods that may be used; default all but CONNECT and TRACE.",
    )
    timeouts: RouteTimeouts = Field(default=RouteTimeouts(), description="In place of the top-level ones.")


class Limits(Entry):
    header_bytes: HeaderBytes = Field(
        default=_LIMITS.header_bytes, description="The largest request head: 64KiB, or a number of bytes."
    )
    connections: Connections = Field(
        default=_LIMITS.connections, description="Connections from apps at one time."
    )


class Guard(Entry):
    """Who may use the proxy."""

    allowed_hosts: list[HostName] = Field(
        default=[],
        description="Added to localhost, *.localhost, 127.0.0.1, [::1] and every match.host; the admin listener's names too.",
    )
    allowed_origins: list[PageOrigin] = Field(default=[], description="Web pages that may send requests.")
    allowed_uids: list[Uid] | None = Field(
        default=None,
        min_length=1,
        description="The users who may use the unix sockets; default whoever runs the proxy.",
    )
    caller_token_file: Path | None = Field(
        default=None,
        description="Holds a secret that every request must carry; relative to this file's directory.",
    )
    caller_token_header: HeaderName = Field(
        default=_GUARD.caller_token_header, description="Where requests carry it."
    )


class Tls(Entry):
    ca_file: Path | None = Field(default=None, description="PEM; certificates to trust besides the system's.")


class Rewrite(Entry):
    """So that web apps keep working behind localhost."""

    location: bool = Field(default=True, description="Location and Content-Location of responses.")
    cookies: bool = Field(default=True, description="Domain and Path of cookies.")
    origin: bool = Field(default=True, description="Origin and Referer of requests.")


class Google(Entry):
    """Other endpoints than Google's public ones."""

    token_endpoint: Endpoint | None = Field(default=None, description="In place of a key file's token_uri.")
    iam_endpoint: Endpoint | None = Field(
        default=None, description="In place of iamcredentials.googleapis.com."
    )
    sts_endpoint: Endpoint | None = Field(default=None, description="In place of sts.googleapis.com.")
    metadata_host: HostPort | None = Field(default=None, description="HOST or HOST:PORT, without http://.")
    universe_domain: HostName | None = Field(default=None, description="In place of googleapis.com.")


class Log(Entry):
    format: Literal["auto", "text", "json"] = Field(
        default=_LOG.format, description="auto: text on a terminal, JSON otherwise."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default=_LOG.level, description="The least that is logged."
    )
    access: Literal["off", "errors", "all"] = Field(
        default=_LOG.access, description="Which requests get a line."
    )


class Document(Entry):
    """A configuration of idtoken-proxy."""

    routes: list[RouteEntry] = Field(description="Where requests go.", json_schema_extra={"minItems": 1})
    listen: Annotated[
        list[Listen],
        Field(min_length=1),
        BeforeValidator(_one_or_more),
        WithJsonSchema({"anyOf": [_STRING, {"type": "array", "items": _STRING, "minItems": 1}]}),
    ] = Field(
        default=[model.TcpAddress("localhost", 8080)],
        description="HOST:PORT, unix:PATH, or a list. Loopback only, unless allow_remote: true.",
        json_schema_extra=_default("localhost:8080"),
    )
    admin: Admin = Field(
        default=model.TcpAddress("localhost", 9090),
        description="Health and status: HOST:PORT, unix:PATH, or off.",
        json_schema_extra=_default("localhost:9090"),
    )
    allow_remote: bool = Field(
        default=False, description="Lets listen and admin take addresses that other machines can reach."
    )
    identity: Identity | None = Field(
        default=None, description="Where tokens come from, for every route; default auto."
    )
    timeouts: Timeouts = Field(
        default=Timeouts(), description="Times: 500ms, 5s, 10m, 1h, or a number of seconds."
    )
    limits: Limits = Field(default=Limits(), description="Of what apps may ask for.")
    guard: Guard = Field(default=Guard(), description="Who may use the proxy.")
    tls: Tls = Field(default=Tls(), description="The way receivers are trusted.")
    rewrite: Rewrite = Field(default=Rewrite(), description="So that web apps keep working behind localhost.")
    google: Google = Field(default=Google(), description="Other endpoints than Google's public ones.")
    egress_proxy: EgressProxy | None = Field(
        default=None,
        description="http://[USER:PASSWORD@]HOST:PORT of the way out by CONNECT. Loopback is reached directly.",
    )
    log: Log = Field(default=Log(), description="What is written to standard error.")


# By the name under which pydantic's locations have them; a route's timeouts come with an index before them.
SECTIONS: dict[str, type[Entry]] = {
    "": Document,
    "routes": RouteEntry,
    "match": Match,
    "timeouts": Timeouts,
    "limits": Limits,
    "guard": Guard,
    "tls": Tls,
    "rewrite": Rewrite,
    "google": Google,
    "log": Log,
    **BY_TYPE,
}
