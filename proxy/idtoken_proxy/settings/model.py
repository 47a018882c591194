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
    """The network's egress proxy, which is reached by plain HTTP and takes CONNECT. `host`: as in Upstream.
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
    """Where the token goes. AUTO depends on whether the app sends an Authorization header itself."""

    AUTO = "auto"
    AUTHORIZATION = "Authorization"
    X_SERVERLESS_AUTHORIZATION = "X-Serverless-Authorization"
    PROXY_AUTHORIZATION = "Proxy-Authorization"


CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"


@dataclass(frozen=True, slots=True)
class Scopes:
    """What an access token shall be good for, in the configuration's order."""

    names: tuple[str, ...] = (CLOUD_PLATFORM,)

    def __str__(self) -> str:
        """As OAuth writes them (RFC 6749 section 3.3)."""
        return " ".join(self.names)


# What a token is requested with: an ID token's audience, or an access token's scopes.
Wanted: TypeAlias = str | Scopes


def asked_for(wanted: Wanted | None) -> str:
    """For people, and for a metric's label."""
    return "none" if wanted is None else str(wanted)


def kind_of(wanted: Wanted | None) -> str:
    """The kind of request for a token: `audience` or `scopes`."""
    return "scopes" if isinstance(wanted, Scopes) else "audience"


class UpstreamProtocol(enum.Enum):
    """The protocol to speak with the receiver. AUTO: the one the app speaks."""

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
    lameduck: float = 0.0  # how long after a signal to end new requests are still served


@dataclass(frozen=True, slots=True)
class Limits:
    header_bytes: int = 64 * 1024
    connections: int = 1024
    services: int = 64  # with a token at a time, of projects whose services no route lists


@dataclass(frozen=True, slots=True)
class GuardSettings:
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    # Who may use the unix sockets; None: whoever runs the proxy, and root.
    allowed_uids: frozenset[int] | None = None
    # The file with a secret that callers must send, and the header for it.
    caller_token_file: str | None = None
    caller_token_header: str = "X-Idtoken-Proxy-Caller"  # noqa: S105 -- the name of a header
    # Requests that may come from a web page, under names for which browsers do not tell.
    unverified_pages: Literal["refuse", "allow"] = "refuse"
    # Proxies in front that end TLS and may say so; "unix": the unix sockets' peers.
    trusted_proxies: tuple[IPv4Network | IPv6Network | Literal["unix"], ...] = ()


@dataclass(frozen=True, slots=True)
class Rewrite:
    location: bool = True
    cookies: bool = True
    origin: bool = True


@dataclass(frozen=True, slots=True)
class GoogleEndpoints:
    """None: Google's public one, or the one in the credential's file."""

    token_endpoint: str | None = None
    iam_endpoint: str | None = None
    sts_endpoint: str | None = None
    metadata_host: str | None = None
    universe_domain: str = "googleapis.com"
    keys_endpoint: str | None = None  # for the keys that ID tokens are signed with
    access_token_hosts: tuple[str, ...] = ()  # hosts besides Google's that may get access tokens


@dataclass(frozen=True, slots=True)
class LogSettings:
    format: Literal["auto", "text", "json"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"
    access: Literal["off", "errors", "all"] = "errors"


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """`endpoint`: the URL to post spans to (OTLP by http/protobuf). `sample`: the share of the traces begun here that
    is recorded. `follows`: if the app sends a span, its sampling decides. `egress_proxy`: the one on the way to
    `endpoint`.
    """

    endpoint: str = "http://localhost:4318/v1/traces"
    sample: float = 1.0
    follows: bool = True
    egress_proxy: EgressProxy | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """`path` is "/" or "/a/b" (a whole-segment prefix, no slash at its end). `host` is lower case; None means every
    host. A route has `audience`, for an ID token, or `scopes`, for an access token. It has neither if `identity` is
    NoIdentity, or for a pattern, whose services have their own. `quota_project`: whom Google charges for calls with the
    access token, if set. `methods` None means all but CONNECT and TRACE. `egress_proxy`: the one on the way to the
    receiver; None for a receiver on loopback. `receives`: the route is on the receiving side, where callers are
    strangers and refusals tell them nothing.
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
        """What to request its token with; None on a public route."""
        return self.audience if self.scopes is None else self.scopes

    @property
    def is_pattern(self) -> bool:
        """Whether it stands for every service of a project and region (services.py)."""
        return self.upstream.host.startswith("*")


@dataclass(frozen=True, slots=True)
class ServerTls:
    """Paths of PEM files. A change of either reloads the configuration."""

    cert_file: str
    key_file: str


@dataclass(frozen=True, slots=True)
class PathRule:
    """Who may call what is under `path`: one of `invokers` (settings/invokers.py), or anybody if None."""

    path: str
    invokers: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Inbound:
    """A listener before an app, where callers show who they are. `upstream`: the app. `rules`: that of / first, then
    longer paths. `issuers`: google, iap and URLs. `name`: for logs and metrics; no route can have such a name.
    `keep_signature`: whether tokens go on to the app whole.
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
    """The metadata server. `audiences`: it hands out ID tokens for these. `scopes`: of its access tokens; None if it
    hands out none. `project_id`: as in the file.
    """

    listen: Address = TcpAddress("localhost", 8181)
    identity: Identity = field(default_factory=AutoIdentity)
    audiences: tuple[str, ...] = ()
    scopes: Scopes | None = None
    project_id: str | None = None
    allow_remote: bool = False


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that the configuration names, in `key` on `line` of `file`. `reread`: its user notices changes itself.
    `awaited`: it may appear after the proxy has started.
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
    wait_for_login: float = 0.0  # how long requests wait while a person has to log in
    limits: Limits = Limits()
    guard: GuardSettings = GuardSettings()
    ca_file: str | None = None
    rewrite: Rewrite = Rewrite()
    google: GoogleEndpoints = field(default_factory=GoogleEndpoints)
    log: LogSettings = LogSettings()
    tracing: TracingSettings | None = None  # None: no spans
    files: tuple[NamedFile, ...] = field(default=(), compare=False)
    # Where each route states its identity, or begins, as problems without a message. Empty if no file was read.
    identities_at: tuple[Problem, ...] = field(default=(), compare=False)
    taken_in: frozenset[str] = field(default=frozenset(), compare=False)  # variables, by ${NAME}
    warnings: tuple[Problem, ...] = field(default=(), compare=False)  # about what is valid (doubts.py)
    receive: tuple[Inbound, ...] = ()
