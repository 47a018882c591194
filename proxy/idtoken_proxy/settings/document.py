"""The configuration file's shape: what each key takes, declared once for validation and for the JSON Schema.

Defaults are in model.py.
"""

from __future__ import annotations

from typing import ClassVar, Final

from idtoken_proxy.settings import addresses, model, scalars
from idtoken_proxy.settings.identities import FILE, IDENTITY
from idtoken_proxy.settings.schema_dsl import Entry, Items, Section, choice_of, key

_TIMEOUTS: Final = model.Timeouts()
_LIMITS: Final = model.Limits()
_GUARD: Final = model.GuardSettings()
_LOG: Final = model.LogSettings()
_SETTINGS: Final = model.Settings(routes=())
_METADATA: Final = model.MetadataSettings()


class Match(Entry):
    """Which requests take the route."""

    path: str = key(scalars.URL_PATH, "A prefix of whole segments; the longest wins.", default="/")
    host: str | None = key(
        scalars.MATCH_HOST,
        "A host name, such as profiles.localhost, or *.run.localhost for every service of upstream's. Left out: any.",
        default=None,
    )


class RouteTimeouts(Entry):
    """In place of the top-level ones, for this route."""

    connect: float = key(scalars.DURATION, "To reach the receiver, TLS included.", default=_TIMEOUTS.connect)
    response: float = key(
        scalars.DURATION, "From the request's end to the response's head.", default=_TIMEOUTS.response
    )
    idle: float = key(
        scalars.DURATION, "Without a byte either way, in a body or a WebSocket.", default=_TIMEOUTS.idle
    )
    keepalive: float = key(scalars.DURATION, "Of an idle connection.", default=_TIMEOUTS.keepalive)

    misplaced: ClassVar = dict.fromkeys(
        ("header", "drain", "lameduck"),
        "is a timeout of the whole proxy, not of one route; move it to the top-level timeouts",
    )


class Timeouts(RouteTimeouts):
    """Times: 500ms, 5s, 10m, 1h, or a number of seconds."""

    header: float = key(
        scalars.DURATION, "From a request's first byte to the end of its head.", default=_TIMEOUTS.header
    )
    drain: float = key(scalars.DURATION, "For requests in flight, at the end.", default=_TIMEOUTS.drain)
    lameduck: float = key(
        scalars.DELAY,
        "How long new requests are still taken after SIGTERM, before the drain.",
        default=_TIMEOUTS.lameduck,
    )


class RouteSection(Entry):
    """Requests that match go to one receiver, with a token that it takes."""

    name: str = key(scalars.ROUTE_NAME, "Unique; names the route in logs, metrics and errors.")
    upstream: model.Upstream = key(
        scalars.UPSTREAM,
        "The receiver: https, or http on loopback. May carry a base path. https://*-PROJECT_NUMBER.REGION.run.app: every service.",
    )
    match: Match = key(Section(Match), "Which requests take the route; default all.", default=Match())
    audience: str | None = key(
        scalars.AUDIENCE,
        "Whom the token is for. Derived for *.run.app (a traffic tag's URL without the tag), *.cloudfunctions.net and "
        "loopback.",
        default=None,
    )
    token: str | None = key(
        scalars.TOKEN,
        "id: an ID token, for services of one's own. access: an access token, for Google's APIs; the default for "
        "*.googleapis.com and *.pkg.dev.",
        default=None,
    )
    scopes: list[str] | None = key(
        Items(scalars.SCOPE, least=1),
        f"What an access token is good for; default [{model.CLOUD_PLATFORM}].",
        default=None,
    )
    quota_project: str | None = key(
        scalars.PROJECT,
        "The project that Google charges for what an access token does (X-Goog-User-Project). Left out: "
        "GOOGLE_CLOUD_QUOTA_PROJECT, or what the credential's file names.",
        default=None,
    )
    strip_prefix: bool = key(
        scalars.BOOLEAN, "Whether match.path is taken off before the upstream.", default=False
    )
    token_header: str = key(
        scalars.TOKEN_HEADER,
        "Where the token goes. auto: Authorization, unless the app uses that itself.",
        default="auto",
    )
    protocol: str = key(
        scalars.PROTOCOL,
        "What is spoken with the receiver. auto: HTTP/1.1 or HTTP/2, as the app does.",
        default="auto",
    )
    identity: Entry | None = key(IDENTITY, "Where this route's tokens come from.", default=None)
    methods: list[str] | None = key(
        Items(scalars.METHOD, least=1),
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


class InboundSection(Entry):
    """A listener before an app, which lets in whoever shows by a token that it is an invoker."""

    listen: model.Address = key(scalars.LISTEN, "HOST:PORT or unix:PATH. Beyond loopback with tls.")
    upstream: model.Upstream = key(scalars.APP, "The app: http on loopback, or https.")
    audiences: list[str] = key(
        Items(
            scalars.AUDIENCE, least=1, hint="name what callers' tokens are for, such as this service's URL"
        ),
        "Whom callers' tokens are for: this service, by its URL or any name that callers agree on.",
    )
    invokers: list[str] = key(
        Items(scalars.INVOKER, least=1, hint="list who may call, or say allUsers"),
        "Who may call: serviceAccount:EMAIL, user:EMAIL, domain:DOMAIN, {principal: SUBJECT, issuer: URL}; or allUsers.",
    )
    paths: dict[str, frozenset[str] | None] = key(
        scalars.PATH_RULES,
        "Path prefixes of whole segments that are public, or have invokers of their own; the longest counts.",
        default={},
    )
    issuers: list[str] = key(
        Items(scalars.ISSUER, least=1),
        "Whose tokens: google, iap, or the URL of an OIDC issuer.",
        default=["google"],
    )
    tls: ServerTls | None = key(Section(ServerTls), "Left out: plain text.", default=None)
    allow_plaintext: bool = key(
        scalars.BOOLEAN, "Lets it listen beyond loopback without tls, where a mesh encrypts.", default=False
    )
    keep_signature: bool = key(
        scalars.BOOLEAN,
        "The app gets callers' tokens whole, and can check them itself; otherwise without their signature, as on Cloud Run.",
        default=False,
    )
    protocol: str = key(
        scalars.PROTOCOL,
        "What is spoken with the app. auto: HTTP/1.1 or HTTP/2, as the caller does.",
        default="auto",
    )
    timeouts: RouteTimeouts = key(
        Section(RouteTimeouts), "In place of the top-level ones.", default=RouteTimeouts()
    )


class Limits(Entry):
    header_bytes: int = key(
        scalars.HEADER_BYTES,
        "The largest request head: 64KiB, or a number of bytes.",
        default=_LIMITS.header_bytes,
    )
    connections: int = key(
        scalars.CONNECTIONS, "Connections from apps at one time.", default=_LIMITS.connections
    )
    services: int = key(
        scalars.SERVICES,
        "Services at one time, of routes that stand for a project's.",
        default=_LIMITS.services,
    )


class Guard(Entry):
    """Who may use the proxy."""

    allowed_hosts: list[str] = key(
        Items(scalars.HOST_NAME),
        "Added to localhost, *.localhost, 127.0.0.1, [::1] and every match.host; the admin listener's names too.",
        default=[],
    )
    allowed_origins: list[str] = key(
        Items(scalars.PAGE_ORIGIN), "Web pages that may send requests.", default=[]
    )
    allowed_uids: list[int] | None = key(
        Items(scalars.UID, least=1),
        "The users who may use the unix sockets; default whoever runs the proxy, and root.",
        default=None,
    )
    caller_token_file: str | None = key(
        FILE, "Holds a secret that every request must carry; relative to this file's directory.", default=None
    )
    caller_token_header: str = key(
        scalars.HEADER_NAME, "Where requests carry it.", default=_GUARD.caller_token_header
    )
    unverified_pages: str = key(
        choice_of("refuse", "allow"),
        "Requests that cannot be told from a page's: under names that are neither loopback nor *.localhost.",
        default=_GUARD.unverified_pages,
    )
    trusted_proxies: list[addresses.ProxyRange] = key(
        Items(scalars.PROXY_RANGE),
        "Addresses and CIDRs that end TLS in front of the proxy, or unix for the unix sockets' peers: their "
        "X-Forwarded-Proto is believed.",
        default=[],
    )


class Tls(Entry):
    ca_file: str | None = key(FILE, "PEM; certificates to trust besides the system's.", default=None)


class Rewrite(Entry):
    """So that web apps keep working behind localhost."""

    location: bool = key(scalars.BOOLEAN, "Location and Content-Location of responses.", default=True)
    cookies: bool = key(scalars.BOOLEAN, "Domain and Path of cookies.", default=True)
    origin: bool = key(scalars.BOOLEAN, "Origin and Referer of requests.", default=True)


class Google(Entry):
    """Other endpoints than Google's public ones."""

    token_endpoint: str | None = key(scalars.ENDPOINT, "In place of a key file's token_uri.", default=None)
    iam_endpoint: str | None = key(
        scalars.ENDPOINT, "In place of iamcredentials.googleapis.com.", default=None
    )
    sts_endpoint: str | None = key(scalars.ENDPOINT, "In place of sts.googleapis.com.", default=None)
    metadata_host: str | None = key(scalars.HOST_PORT, "HOST or HOST:PORT, without http://.", default=None)
    universe_domain: str | None = key(scalars.UNIVERSE, "In place of googleapis.com.", default=None)
    keys_endpoint: str | None = key(
        scalars.ENDPOINT, "In place of www.googleapis.com/oauth2/v3/certs, for receive.", default=None
    )
    access_token_hosts: list[str] = key(
        Items(scalars.HOST_NAME),
        "Hosts besides Google's own that routes may hand access tokens to (token: access).",
        default=[],
    )


class Log(Entry):
    format: str = key(scalars.LOG_FORMAT, "auto: text on a terminal, JSON otherwise.", default=_LOG.format)
    level: str = key(scalars.LOG_LEVEL, "The least that is logged.", default=_LOG.level)
    access: str = key(scalars.LOG_ACCESS, "Which requests get a line.", default=_LOG.access)


class Tracing(Entry):
    """Spans for OpenTelemetry: of requests, and of tokens' fetches."""

    enabled: bool = key(scalars.BOOLEAN, "false: none, whatever OpenTelemetry's variables say.", default=True)
    endpoint: str | None = key(
        scalars.COLLECTOR,
        "The collector's, for OTLP by http/protobuf; default OTEL_EXPORTER_OTLP_ENDPOINT, then http://localhost:4318.",
        default=None,
    )
    sample: float | None = key(
        scalars.RATIO,
        "Which share of the traces that begin here is recorded, 0 to 1; default OTEL_TRACES_SAMPLER's, then 1.",
        default=None,
    )


class Metadata(Entry):
    """Google's libraries find an identity here, as at the metadata server of a VM: GCE_METADATA_HOST leads them to it."""

    listen: model.Address = key(
        scalars.LISTEN,
        "HOST:PORT or unix:PATH. Loopback only, unless this section's own allow_remote: true.",
        default=_METADATA.listen,
    )
    identity: Entry | None = key(
        IDENTITY, "Whose tokens are handed out; default the top-level identity.", default=None
    )
    audiences: list[str] | None = key(
        Items(scalars.AUDIENCE),
        "Those for which ID tokens are handed out; default those of the routes with the same identity.",
        default=None,
    )
    access_tokens: bool = key(
        scalars.BOOLEAN,
        "Whether access tokens are handed out too, with which Google's APIs may be called as the identity.",
        default=False,
    )
    scopes: list[str] | None = key(
        Items(scalars.SCOPE, least=1),
        f"What an access token is good for, whatever a library asks for; default [{model.CLOUD_PLATFORM}].",
        default=None,
    )
    project_id: str | None = key(
        scalars.PROJECT,
        "What libraries are told of the project; default that of the service account's email.",
        default=None,
    )
    allow_remote: bool = key(
        scalars.BOOLEAN,
        "Lets listen take an address that other machines can reach: whoever reaches it is handed tokens.",
        default=_METADATA.allow_remote,
    )


class Document(Entry):
    """A configuration of idtoken-proxy."""

    extensible: ClassVar = True
    one_of: ClassVar = ("routes", "metadata", "receive")

    routes: list[RouteSection] = key(
        Items(Section(RouteSection), least=1, hint="a route has at least a name and an upstream"),
        "Where requests go. Left out: there are listeners before apps or a metadata server's face alone.",
        default=[],
    )
    receive: list[InboundSection] = key(
        Items(
            Section(InboundSection), least=1, hint="a listener has listen, upstream, audiences and invokers"
        ),
        "Listeners before apps, which check the tokens that come.",
        default=[],
    )
    listen: list[model.Address] = key(
        Items(scalars.LISTEN, least=1, single=True),
        "HOST:PORT, unix:PATH, or a list. Loopback only, unless allow_remote: true.",
        default=list(_SETTINGS.listen),
    )
    admin: model.Address | None = key(
        scalars.ADMIN, "Health and status: HOST:PORT, unix:PATH, or off.", default=_SETTINGS.admin
    )
    metadata: Metadata | None = key(
        Section(Metadata), "The metadata server's face, for apps that use Google's libraries.", default=None
    )
    allow_remote: bool = key(
        scalars.BOOLEAN, "Lets listen and admin take addresses that other machines can reach.", default=False
    )
    reuse_port: bool = key(
        scalars.BOOLEAN,
        "Lets several proxies of one user listen on the same ports, one for each core. Linux.",
        default=False,
    )
    forward_proxy: bool = key(
        scalars.SWITCH,
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
        scalars.DELAY,
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
        scalars.EGRESS_PROXY,
        "http://[USER:PASSWORD@]HOST:PORT of the way out by CONNECT. Loopback is reached directly.",
        default=None,
    )
    log: Log = key(Section(Log), "What is written to standard error.", default=Log())
    tracing: Tracing | None = key(
        Section(Tracing), "Spans for OpenTelemetry; needs the extra otel.", default=None
    )
