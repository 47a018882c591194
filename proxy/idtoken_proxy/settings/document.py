"""The configuration file's shape: what each key takes, said once for validation and for the JSON Schema.

Defaults stand in model.py.
"""

from __future__ import annotations

from typing import ClassVar, Final

from idtoken_proxy.settings import addresses, egress, invokers, model, names, services, urls, values
from idtoken_proxy.settings.identities import FILE, IDENTITY
from idtoken_proxy.settings.plausible import url_path_objection
from idtoken_proxy.settings.schema_dsl import Entry, Items, Scalar, Section, choice_of, key

_TIMEOUTS: Final = model.Timeouts()
_LIMITS: Final = model.Limits()
_GUARD: Final = model.GuardSettings()
_LOG: Final = model.LogSettings()
_SETTINGS: Final = model.Settings(routes=())
_METADATA: Final = model.MetadataSettings()

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


class Match(Entry):
    """Which requests take the route."""

    path: str = key(URL_PATH, "A prefix of whole segments; the longest wins.", default="/")
    host: str | None = key(
        MATCH_HOST,
        "A host name, such as profiles.localhost, or *.run.localhost for every service of upstream's. Left out: any.",
        default=None,
    )


class RouteTimeouts(Entry):
    """In place of the top-level ones, for this route."""

    connect: float = key(DURATION, "To reach the receiver, TLS included.", default=_TIMEOUTS.connect)
    response: float = key(
        DURATION, "From the request's end to the response's head.", default=_TIMEOUTS.response
    )
    idle: float = key(
        DURATION, "Without a byte either way, in a body or a WebSocket.", default=_TIMEOUTS.idle
    )
    keepalive: float = key(DURATION, "Of an idle connection.", default=_TIMEOUTS.keepalive)

    misplaced: ClassVar = dict.fromkeys(
        ("header", "drain", "lameduck"),
        "is a timeout of the whole proxy, not of one route; move it to the top-level timeouts",
    )


class Timeouts(RouteTimeouts):
    """Times: 500ms, 5s, 10m, 1h, or a number of seconds."""

    header: float = key(
        DURATION, "From a request's first byte to the end of its head.", default=_TIMEOUTS.header
    )
    drain: float = key(DURATION, "For requests in flight, at the end.", default=_TIMEOUTS.drain)
    lameduck: float = key(
        DELAY,
        "How long new requests are still taken after SIGTERM, before the drain.",
        default=_TIMEOUTS.lameduck,
    )


class RouteEntry(Entry):
    """Requests that match go to one receiver, with a token that it takes."""

    name: str = key(ROUTE_NAME, "Unique; names the route in logs, metrics and errors.")
    upstream: model.Upstream = key(
        UPSTREAM,
        "The receiver: https, or http on loopback. May carry a base path. https://*-PROJECT_NUMBER.REGION.run.app: every service.",
    )
    match: Match = key(Section(Match), "Which requests take the route; default all.", default=Match())
    audience: str | None = key(
        AUDIENCE,
        "Whom the token is for. Derived for *.run.app (a traffic tag's URL without the tag), *.cloudfunctions.net and "
        "loopback.",
        default=None,
    )
    token: str | None = key(
        TOKEN,
        "id: an ID token, for services of one's own. access: an access token, for Google's APIs; the default for "
        "*.googleapis.com and *.pkg.dev.",
        default=None,
    )
    scopes: list[str] | None = key(
        Items(SCOPE, least=1),
        f"What an access token is good for; default [{model.CLOUD_PLATFORM}].",
        default=None,
    )
    quota_project: str | None = key(
        PROJECT,
        "The project that Google charges for what an access token does (X-Goog-User-Project). Left out: "
        "GOOGLE_CLOUD_QUOTA_PROJECT, or what the credential's file names.",
        default=None,
    )
    strip_prefix: bool = key(BOOLEAN, "Whether match.path is taken off before the upstream.", default=False)
    token_header: str = key(
        TOKEN_HEADER,
        "Where the token goes. auto: Authorization, unless the app uses that itself.",
        default="auto",
    )
    protocol: str = key(
        PROTOCOL,
        "What is spoken with the receiver. auto: HTTP/1.1 or HTTP/2, as the app does.",
        default="auto",
    )
    identity: Entry | None = key(IDENTITY, "Where this route's tokens come from.", default=None)
    methods: list[str] | None = key(
        Items(METHOD, least=1),
        "The methods that may be used; default all but CONNECT and TRACE.",
        default=None,
    )
    timeouts: RouteTimeouts = key(
        Section(RouteTimeouts), "In place of the top-level ones.", default=RouteTimeouts()
    )

    misplaced: ClassVar = {
        name: f"belongs into match; write match: {{{name}: ...}}" for name in Match.declared
    }


class ServerTls(Entry):
    """Of a listener. A change of either file is taken over as one of the configuration is."""

    cert_file: str = key(FILE, "PEM; the certificate, and those of the CAs between it and the root.")
    key_file: str = key(FILE, "PEM; its key, without a password.")


class InboundEntry(Entry):
    """A listener before an app, which lets in whoever shows by a token that it is an invoker."""

    listen: model.Address = key(LISTEN, "HOST:PORT or unix:PATH. Beyond loopback with tls.")
    upstream: model.Upstream = key(APP, "The app: http on loopback, or https.")
    audiences: list[str] = key(
        Items(AUDIENCE, least=1, hint="name what callers' tokens are for, such as this service's URL"),
        "Whom callers' tokens are for: this service, by its URL or any name that callers agree on.",
    )
    invokers: list[str] = key(
        Items(INVOKER, least=1, hint="list who may call, or say allUsers"),
        "Who may call: serviceAccount:EMAIL, user:EMAIL, domain:DOMAIN, {principal: SUBJECT, issuer: URL}; or allUsers.",
    )
    paths: dict[str, frozenset[str] | None] = key(
        PATH_RULES,
        "Path prefixes of whole segments that are public, or have invokers of their own; the longest counts.",
        default={},
    )
    issuers: list[str] = key(
        Items(ISSUER, least=1), "Whose tokens: google, iap, or the URL of an OIDC issuer.", default=["google"]
    )
    tls: ServerTls | None = key(Section(ServerTls), "Left out: plain text.", default=None)
    allow_plaintext: bool = key(
        BOOLEAN, "Lets it listen beyond loopback without tls, where a mesh encrypts.", default=False
    )
    protocol: str = key(
        PROTOCOL, "What is spoken with the app. auto: HTTP/1.1 or HTTP/2, as the caller does.", default="auto"
    )
    timeouts: RouteTimeouts = key(
        Section(RouteTimeouts), "In place of the top-level ones.", default=RouteTimeouts()
    )


class Limits(Entry):
    header_bytes: int = key(
        HEADER_BYTES, "The largest request head: 64KiB, or a number of bytes.", default=_LIMITS.header_bytes
    )
    connections: int = key(CONNECTIONS, "Connections from apps at one time.", default=_LIMITS.connections)
    services: int = key(
        SERVICES, "Services at one time, of routes that stand for a project's.", default=_LIMITS.services
    )


class Guard(Entry):
    """Who may use the proxy."""

    allowed_hosts: list[str] = key(
        Items(HOST_NAME),
        "Added to localhost, *.localhost, 127.0.0.1, [::1] and every match.host; the admin listener's names too.",
        default=[],
    )
    allowed_origins: list[str] = key(Items(PAGE_ORIGIN), "Web pages that may send requests.", default=[])
    allowed_uids: list[int] | None = key(
        Items(UID, least=1),
        "The users who may use the unix sockets; default whoever runs the proxy, and root.",
        default=None,
    )
    caller_token_file: str | None = key(
        FILE, "Holds a secret that every request must carry; relative to this file's directory.", default=None
    )
    caller_token_header: str = key(
        HEADER_NAME, "Where requests carry it.", default=_GUARD.caller_token_header
    )
    unverified_pages: str = key(
        choice_of("refuse", "allow"),
        "Requests that cannot be told from a page's: under names that are neither loopback nor *.localhost.",
        default=_GUARD.unverified_pages,
    )
    trusted_proxies: list[addresses.ProxyRange] = key(
        Items(PROXY_RANGE),
        "Addresses and CIDRs that end TLS in front of the proxy, or unix for the unix sockets' peers: their "
        "X-Forwarded-Proto is believed.",
        default=[],
    )


class Tls(Entry):
    ca_file: str | None = key(FILE, "PEM; certificates to trust besides the system's.", default=None)


class Rewrite(Entry):
    """So that web apps keep working behind localhost."""

    location: bool = key(BOOLEAN, "Location and Content-Location of responses.", default=True)
    cookies: bool = key(BOOLEAN, "Domain and Path of cookies.", default=True)
    origin: bool = key(BOOLEAN, "Origin and Referer of requests.", default=True)


class Google(Entry):
    """Other endpoints than Google's public ones."""

    token_endpoint: str | None = key(ENDPOINT, "In place of a key file's token_uri.", default=None)
    iam_endpoint: str | None = key(ENDPOINT, "In place of iamcredentials.googleapis.com.", default=None)
    sts_endpoint: str | None = key(ENDPOINT, "In place of sts.googleapis.com.", default=None)
    metadata_host: str | None = key(HOST_PORT, "HOST or HOST:PORT, without http://.", default=None)
    universe_domain: str | None = key(UNIVERSE, "In place of googleapis.com.", default=None)
    keys_endpoint: str | None = key(
        ENDPOINT, "In place of www.googleapis.com/oauth2/v3/certs, for receive.", default=None
    )
    access_token_hosts: list[str] = key(
        Items(HOST_NAME),
        "Hosts besides Google's own that routes may hand access tokens to (token: access).",
        default=[],
    )


class Log(Entry):
    format: str = key(LOG_FORMAT, "auto: text on a terminal, JSON otherwise.", default=_LOG.format)
    level: str = key(LOG_LEVEL, "The least that is logged.", default=_LOG.level)
    access: str = key(LOG_ACCESS, "Which requests get a line.", default=_LOG.access)


class Tracing(Entry):
    """Spans for OpenTelemetry: of requests, and of tokens' fetches."""

    enabled: bool = key(BOOLEAN, "false: none, whatever OpenTelemetry's variables say.", default=True)
    endpoint: str | None = key(
        COLLECTOR,
        "The collector's, for OTLP by http/protobuf; default OTEL_EXPORTER_OTLP_ENDPOINT, then http://localhost:4318.",
        default=None,
    )
    sample: float | None = key(
        RATIO,
        "Which share of the traces that begin here is recorded, 0 to 1; default OTEL_TRACES_SAMPLER's, then 1.",
        default=None,
    )


class Metadata(Entry):
    """Google's libraries find an identity here, as at the metadata server of a VM: GCE_METADATA_HOST leads them to it."""

    listen: model.Address = key(
        LISTEN,
        "HOST:PORT or unix:PATH. Loopback only, unless this section's own allow_remote: true.",
        default=_METADATA.listen,
    )
    identity: Entry | None = key(
        IDENTITY, "Whose tokens are handed out; default the top-level identity.", default=None
    )
    audiences: list[str] | None = key(
        Items(AUDIENCE),
        "Those for which ID tokens are handed out; default those of the routes with the same identity.",
        default=None,
    )
    access_tokens: bool = key(
        BOOLEAN,
        "Whether access tokens are handed out too, with which Google's APIs may be called as the identity.",
        default=False,
    )
    scopes: list[str] | None = key(
        Items(SCOPE, least=1),
        f"What an access token is good for, whatever a library asks for; default [{model.CLOUD_PLATFORM}].",
        default=None,
    )
    project_id: str | None = key(
        PROJECT,
        "What libraries are told of the project; default that of the service account's email.",
        default=None,
    )
    allow_remote: bool = key(
        BOOLEAN,
        "Lets listen take an address that other machines can reach: whoever reaches it is handed tokens.",
        default=_METADATA.allow_remote,
    )


class Document(Entry):
    """A configuration of idtoken-proxy."""

    extensible: ClassVar = True
    one_of: ClassVar = ("routes", "metadata", "receive")

    routes: list[RouteEntry] = key(
        Items(Section(RouteEntry), least=1, hint="a route has at least a name and an upstream"),
        "Where requests go. Left out: there are listeners before apps or a metadata server's face alone.",
        default=[],
    )
    receive: list[InboundEntry] = key(
        Items(Section(InboundEntry), least=1, hint="a listener has listen, upstream, audiences and invokers"),
        "Listeners before apps, which check the tokens that come.",
        default=[],
    )
    listen: list[model.Address] = key(
        Items(LISTEN, least=1, single=True),
        "HOST:PORT, unix:PATH, or a list. Loopback only, unless allow_remote: true.",
        default=list(_SETTINGS.listen),
    )
    admin: model.Address | None = key(
        ADMIN, "Health and status: HOST:PORT, unix:PATH, or off.", default=_SETTINGS.admin
    )
    metadata: Metadata | None = key(
        Section(Metadata), "The metadata server's face, for apps that use Google's libraries.", default=None
    )
    allow_remote: bool = key(
        BOOLEAN, "Lets listen and admin take addresses that other machines can reach.", default=False
    )
    reuse_port: bool = key(
        BOOLEAN,
        "Lets several proxies of one user listen on the same ports, one for each core. Linux.",
        default=False,
    )
    forward_proxy: bool = key(
        SWITCH,
        "Whether requests may name a receiver in place of the proxy, as with HTTP_PROXY.",
        default=_SETTINGS.forward_proxy,
    )
    identity: Entry | None = key(
        IDENTITY, "Where tokens come from, for every route; default auto.", default=None
    )
    timeouts: Timeouts = key(
        Section(Timeouts), "Times: 500ms, 5s, 10m, 1h, or a number of seconds.", default=Timeouts()
    )
    wait_for_login: float = key(
        DELAY,
        "How long requests are held while somebody has to log in anew, as to gcloud.",
        default=_SETTINGS.wait_for_login,
    )
    limits: Limits = key(Section(Limits), "Of what apps may ask for.", default=Limits())
    guard: Guard = key(Section(Guard), "Who may use the proxy.", default=Guard())
    tls: Tls = key(Section(Tls), "The way receivers are trusted.", default=Tls())
    rewrite: Rewrite = key(
        Section(Rewrite), "So that web apps keep working behind localhost.", default=Rewrite()
    )
    google: Google = key(Section(Google), "Other endpoints than Google's public ones.", default=Google())
    egress_proxy: model.EgressProxy | None = key(
        EGRESS_PROXY,
        "http://[USER:PASSWORD@]HOST:PORT of the way out by CONNECT. Loopback is reached directly.",
        default=None,
    )
    log: Log = key(Section(Log), "What is written to standard error.", default=Log())
    tracing: Tracing | None = key(
        Section(Tracing), "Spans for OpenTelemetry; needs the extra otel.", default=None
    )
