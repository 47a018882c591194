"""Settings as the rest of the proxy sees them: frozen, resolved, nothing left to parse, derive or default.

Durations are seconds, sizes are bytes. The identities are declared in identities.py.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Literal, TypeAlias

from idtoken_proxy.errors import Problem
from idtoken_proxy.settings.identities import AutoIdentity, Identity

# -- addresses ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """Where to listen. `localhost` means both loopback families; port 0 lets the kernel choose."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


Address: TypeAlias = TcpAddress | UnixAddress


@dataclass(frozen=True, slots=True)
class Upstream:
    """A receiver: `host` is lower case, an IPv6 address without brackets; `base_path` is "" or "/x/y", never
    with a slash at its end.
    """

    scheme: Literal["http", "https"]
    host: str
    port: int
    base_path: str = ""

    @property
    def authority(self) -> str:
        """As in the Host header: without the scheme's default port (RFC 9110 section 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.authority}"

    def __str__(self) -> str:
        return self.origin + self.base_path


DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class EgressProxy:
    """The way out of a network: a proxy that is reached by plain HTTP and takes CONNECT. `host` as an Upstream's;
    `credentials`: the octets `user:password`, which no repr and no message shows.
    """

    host: str
    port: int
    credentials: bytes | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """HOST:PORT"""
        return str(TcpAddress(self.host, self.port))


# -- the rest -----------------------------------------------------------------


class TokenHeader(enum.Enum):
    """Where the token goes; AUTO depends on whether the app sends an Authorization of its own."""

    AUTO = "auto"
    AUTHORIZATION = "Authorization"
    X_SERVERLESS_AUTHORIZATION = "X-Serverless-Authorization"
    PROXY_AUTHORIZATION = "Proxy-Authorization"


CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"


@dataclass(frozen=True, slots=True)
class Scopes:
    """What an access token is to be good for, in the order in which the configuration names them."""

    names: tuple[str, ...] = (CLOUD_PLATFORM,)

    def __str__(self) -> str:
        """As OAuth writes them (RFC 6749 section 3.3)."""
        return " ".join(self.names)


# What a token is asked for with: an ID token's audience, or an access token's scopes.
Wanted: TypeAlias = str | Scopes


def asked_for(wanted: Wanted | None) -> str:
    """For people, and for a metric's label."""
    return "none" if wanted is None else str(wanted)


def kind_of(wanted: Wanted | None) -> str:
    """By what a token is asked for with: `audience` or `scopes`."""
    return "scopes" if isinstance(wanted, Scopes) else "audience"


class UpstreamProtocol(enum.Enum):
    """What is spoken with the receiver; AUTO: what the app speaks."""

    AUTO = "auto"
    HTTP1 = "http1"
    HTTP2 = "http2"


@dataclass(frozen=True, slots=True)
class Timeouts:
    connect: float = 5.0  # to reach the receiver, TLS included
    response: float = 300.0  # from the request's last byte to the response's head
    idle: float = 300.0  # no byte either way in a body or a tunnel
    header: float = 10.0  # from a request's first byte to the end of its head
    keepalive: float = 75.0  # an idle connection, app's or receiver's
    drain: float = 9.0  # Cloud Run kills 10 s after SIGTERM
    lameduck: float = 0.0  # after a signal to end, how long requests are begun still


@dataclass(frozen=True, slots=True)
class Limits:
    header_bytes: int = 64 * 1024
    connections: int = 1024
    services: int = 64  # of projects whose services no route lists


@dataclass(frozen=True, slots=True)
class GuardSettings:
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    # Who may use the unix sockets; None: whoever runs the proxy, and root.
    allowed_uids: frozenset[int] | None = None
    # A secret that callers must send, and in which header.
    caller_token_file: str | None = None
    caller_token_header: str = "X-Idtoken-Proxy-Caller"  # noqa: S105 -- the name of a header
    # Requests that may be a page's, under names of which browsers say nothing.
    unverified_pages: Literal["refuse", "allow"] = "refuse"
    # Who ends TLS in front of the proxy, and may say so; "unix": the unix sockets' peers.
    trusted_proxies: tuple[IPv4Network | IPv6Network | Literal["unix"], ...] = ()


@dataclass(frozen=True, slots=True)
class Rewrite:
    location: bool = True
    cookies: bool = True
    origin: bool = True


@dataclass(frozen=True, slots=True)
class GoogleEndpoints:
    """None: Google's public one, or what the credential's own file says."""

    token_endpoint: str | None = None
    iam_endpoint: str | None = None
    sts_endpoint: str | None = None
    metadata_host: str | None = None
    universe_domain: str = "googleapis.com"
    keys_endpoint: str | None = None  # of the keys that ID tokens are signed with
    access_token_hosts: tuple[str, ...] = ()  # besides Google's own, which may be handed access tokens


@dataclass(frozen=True, slots=True)
class LogSettings:
    format: Literal["auto", "text", "json"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"
    access: Literal["off", "errors", "all"] = "errors"


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """`endpoint`: the URL that spans are posted to (OTLP by http/protobuf). `sample`: which share of the traces that begin here
    is recorded; `follows`: the app's own span decides, where it brings one. `egress_proxy`: what it is reached through.
    """

    endpoint: str = "http://localhost:4318/v1/traces"
    sample: float = 1.0
    follows: bool = True
    egress_proxy: EgressProxy | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """`path` is "/" or "/a/b" (a whole-segment prefix, no slash at its end); `host` is lower case or None for
    every host; `audience` is an ID token's and `scopes` are an access token's: a route has one of them, and neither where
    `identity` is NoIdentity, or for a pattern, whose services have their own; `quota_project` is whom Google charges for what an access token does, where the configuration
    says; `methods` None means all but CONNECT and TRACE; `egress_proxy` is what the receiver is reached through, None for
    one on loopback; `receives`: on the receiving side, where callers are strangers and refusals tell them nothing.
    """

    name: str
    upstream: Upstream
    audience: str | None
    identity: Identity = field(default_factory=AutoIdentity)
    host: str | None = None
    path: str = "/"
    strip_prefix: bool = False
    token_header: TokenHeader = TokenHeader.AUTO
    methods: frozenset[str] | None = None
    timeouts: Timeouts = Timeouts()
    egress_proxy: EgressProxy | None = None
    protocol: UpstreamProtocol = UpstreamProtocol.AUTO
    scopes: Scopes | None = None
    quota_project: str | None = None
    receives: bool = False

    @property
    def wanted(self) -> Wanted | None:
        """What its token is asked for with; None on a public route."""
        return self.audience if self.scopes is None else self.scopes

    @property
    def is_pattern(self) -> bool:
        """It stands for every service of a project and region (services.py)."""
        return self.upstream.host.startswith("*")


@dataclass(frozen=True, slots=True)
class ServerTls:
    """PEM files. Whatever changes in them is taken over as a change of the configuration is."""

    cert_file: str
    key_file: str


@dataclass(frozen=True, slots=True)
class PathRule:
    """Who may ask for what is under `path`: the caller is one of `invokers` (settings/invokers.py), or anybody where that is
    None.
    """

    path: str
    invokers: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Inbound:
    """A listener before an app, where callers show who they are. `upstream`: the app. `rules`: that of / is the first, then
    longer paths. `issuers`: google, iap and URLs. `name`: in logs and metrics, which no route can have. `keep_signature`: of
    tokens that go on to the app.
    """

    name: str
    listen: Address
    upstream: Upstream
    audiences: tuple[str, ...]
    rules: tuple[PathRule, ...]
    issuers: tuple[str, ...] = ("google",)
    tls: ServerTls | None = None
    timeouts: Timeouts = Timeouts()
    protocol: UpstreamProtocol = UpstreamProtocol.AUTO
    keep_signature: bool = False


@dataclass(frozen=True, slots=True)
class MetadataSettings:
    """The metadata server's face. `audiences`: those for which it hands out ID tokens; `scopes`: an access token's, None
    where it hands out none; `project_id`: as the file says it.
    """

    listen: Address = TcpAddress("localhost", 8181)
    identity: Identity = field(default_factory=AutoIdentity)
    audiences: tuple[str, ...] = ()
    scopes: Scopes | None = None
    project_id: str | None = None
    allow_remote: bool = False


@dataclass(frozen=True, slots=True)
class NamedFile:
    """One that the configuration names, in `key` on `line` of `file`. `reread`: whoever needs it looks at it again by
    itself; `awaited`: it may come later than the proxy.
    """

    path: str
    file: str
    line: int
    key: str
    reread: bool = False
    awaited: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    routes: tuple[Route, ...]
    listen: tuple[Address, ...] = (TcpAddress("localhost", 8080),)
    admin: Address | None = TcpAddress("localhost", 9090)
    metadata: MetadataSettings | None = None
    allow_remote: bool = False
    reuse_port: bool = False  # whether other proxies of the same user may listen on the same ports
    forward_proxy: bool = True
    timeouts: Timeouts = Timeouts()
    wait_for_login: float = 0.0  # how long requests are held while a person has to log in
    limits: Limits = Limits()
    guard: GuardSettings = GuardSettings()
    ca_file: str | None = None
    rewrite: Rewrite = Rewrite()
    google: GoogleEndpoints = field(default_factory=GoogleEndpoints)
    log: LogSettings = LogSettings()
    tracing: TracingSettings | None = None  # None: no spans
    files: tuple[NamedFile, ...] = field(default=(), compare=False)
    # Where each route says its identity, or begins; without a message yet. Empty where no file was read.
    identities_at: tuple[Problem, ...] = field(default=(), compare=False)
    taken_in: frozenset[str] = field(default=frozenset(), compare=False)  # variables, by ${NAME}
    warnings: tuple[Problem, ...] = field(default=(), compare=False)  # of what is no mistake (doubts.py)
    receive: tuple[Inbound, ...] = ()
