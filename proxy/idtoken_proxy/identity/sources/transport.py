"""How google-auth's credentials reach Google's token endpoints.

A `google.auth.transport.Request` in shape. google-auth's own, over the same requests library, is not used: it
logs assertions and Authorization headers at debug level, gives a token endpoint 120 s, follows redirects with
the assertion in hand, and retries inside, where the cache backs off already.

Proxies and CA bundles come from the environment, as in Google's libraries (HTTPS_PROXY, NO_PROXY,
REQUESTS_CA_BUNDLE).
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.clock import Wall
from idtoken_proxy.identity.google_error import GoogleError
from idtoken_proxy.identity.reasons import why
from idtoken_proxy.settings.addresses import is_link_local, is_loopback
from idtoken_proxy.settings.urls import METADATA_IPV6, METADATA_NAMES

if TYPE_CHECKING:
    import requests

CONNECT_TIMEOUT = 3.0  # seconds; both together under the cache's deadline
READ_TIMEOUT = 6.0
WHOLE_TIMEOUT = 8.0  # for an answer's body
_PIECE = 16 * 1024
MAX_ANSWER = 1024 * 1024  # octets; a token's has some 2 KiB
# In requests' form: these and no others, whatever the environment says.
_DIRECT = {"http": "", "https": "", "all": ""}
# Where AWS keeps a workload's credentials and its instance metadata (fd00::/8 is not link-local).
_NEAR = frozenset({"fd00:ec2::254", "fd00:ec2::23", METADATA_IPV6})


class EndpointRefused(Exception):
    """A token endpoint's lasting no, as google_error.py reads it; reasons.py tells why."""

    def __init__(self, error: GoogleError, *, url: str = "") -> None:
        super().__init__(f"{error.status} {error.code}")
        self.error = error
        self.url = url

    @property
    def status(self) -> int:
        return self.error.status

    @property
    def code(self) -> str:
        """Such as `invalid_grant`, or UNKNOWN."""
        return self.error.code

    @property
    def reason(self) -> str | None:
        """Such as `invalid_rapt` or `SERVICE_DISABLED`."""
        return self.error.reason

    @property
    def description(self) -> str:
        """Google's sentence, safe to show."""
        return self.error.message

    @property
    def said(self) -> str:
        """In brackets, behind what we say ourselves."""
        return self.error.said


@contextmanager
def conversation(answerer: str, wall: Wall = time) -> Iterator[Transport]:
    """A Transport for google-auth, whose own exceptions become a TokenError that does not repeat them: they quote
    the answer, and with it perhaps the token. EndpointRefused passes: what is to be done about it depends on who asked.
    """
    try:
        with Transport(wall) as transport:
            yield transport
    except (TokenError, EndpointRefused):
        raise
    except Exception as error:  # noqa: BLE001 -- google-auth meets a malformed answer with many kinds of them
        raise TokenError(
            f"the answer of {answerer} holds no token",
            cause="garbage",
            fault=Fault.GOOGLE,
            log_detail=type(error).__name__,
        ) from None


class Transport:
    """One fetch's way out; `with` closes its connections."""

    def __init__(self, wall: Wall = time) -> None:
        """`wall`: of the moments from which the life of what is asked for is counted."""
        # Imported here, in the fetching thread: 100 ms that the proxy's start does not wait for.
        import requests  # noqa: PLC0415

        self._session = requests.Session()
        # Anything here keeps requests from looking into .netrc, whose entry would replace our Authorization.
        self._session.auth = _keep
        self.last_url: str | None = None  # where the last request went
        self._wall = wall
        # Unix seconds, of the last one. The answer's by the clock that google-auth reads.
        self.asked_at, self.answered_at = wall(), time()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        cert: tuple[str, str] | None = None,
        **_: Any,
    ) -> Response:
        """Raises TokenError where it helps to try again later or where the way there is broken, EndpointRefused
        for any other answer than 200: google-auth, which puts whole bodies into its messages, sees none.
        """
        import requests  # noqa: PLC0415

        self.last_url = url
        self.asked_at = self._wall()
        host = host_of(url)
        try:
            response = self._session.request(
                method,
                url,
                data=body,
                headers=dict(headers or {}),
                timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
                allow_redirects=False,
                cert=cert,
                proxies=_DIRECT if is_near(url) else None,
                stream=True,
            )
            with response:
                content = _bounded(response)
            self.answered_at = time()
        except (requests.RequestException, OSError, ValueError) as error:
            # OSError: a REQUESTS_CA_BUNDLE that is not there. ValueError: a URL that urllib3 does not take.
            raise _unreachable(host, error) from None
        status = response.status_code
        if status == 200:
            return Response(status, response.headers, content)
        if status == 408 or status >= 500:
            raise TokenError(
                f"{host} answered {status}", cause="endpoint_unavailable", fault=Fault.GOOGLE, retry_after=10
            )
        said = GoogleError.read(status, content)
        if status == 429:
            raise _too_many(host, said)
        raise EndpointRefused(said, url=url)


class Response:
    """`google.auth.transport.Response` in shape."""

    def __init__(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self.status = status
        self.headers = headers
        self.data = data


def host_of(url: str) -> str:
    """For messages: without a password that somebody may have put into the URL."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return "the token endpoint"


def is_near(url: str) -> bool:
    """On this machine or its link: what is asked there is not for an HTTP proxy to hear, and none could reach it. The
    environment's proxy variables do not say so (requests heeds NO_PROXY alone).
    """
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    return is_loopback(host) or is_link_local(host) or host in METADATA_NAMES or host in _NEAR


def _bounded(response: requests.Response) -> bytes:
    """All of an answer, within one deadline and one size: a socket's own timeout begins anew with each octet. Raises
    requests' exceptions, ValueError.
    """
    import requests  # noqa: PLC0415
    import urllib3  # noqa: PLC0415

    end = monotonic() + WHOLE_TIMEOUT
    body = bytearray()
    try:
        while piece := response.raw.read1(_PIECE, decode_content=True):
            body += piece
            if len(body) > MAX_ANSWER:
                raise ValueError("too long an answer")
            if monotonic() > end:
                raise requests.exceptions.ReadTimeout
    except urllib3.exceptions.ReadTimeoutError as error:
        raise requests.exceptions.ReadTimeout from error
    except urllib3.exceptions.HTTPError as error:
        raise requests.exceptions.ConnectionError from error
    return bytes(body)


def _keep(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _unreachable(host: str, error: Exception) -> TokenError:
    import requests  # noqa: PLC0415

    if looked_up_in_vain(error) and not isinstance(error, requests.exceptions.ProxyError):
        return TokenError(
            f"the name of {host} cannot be looked up now: no name server answers",
            cause="endpoint_dns",
            fault=Fault.OPERATOR,
            remedy=f"Is this machine online? If so, see that its name servers answer: getent hosts {_name(host)}",
            log_detail=type(error).__name__,
        )
    if isinstance(error, requests.exceptions.ReadTimeout):
        # Reached, and silent: another matter than a way that is closed.
        return TokenError(
            f"{host} was reached, and did not answer in time",
            cause="endpoint_timeout",
            fault=Fault.GOOGLE,
            log_detail=type(error).__name__,
        )
    # No proxy is asked on the way to what is near (is_near).
    way = f"Check that this machine may reach {host}; behind a proxy, set HTTPS_PROXY"
    if is_near(f"//{host}"):
        way = f"See that it runs, and listens there: curl -sv http://{host}/"
    kinds: tuple[tuple[type[Exception], str, str, str], ...] = (
        (
            requests.exceptions.ProxyError,
            "egress_proxy_failed",
            f"the proxy on the way to {host} does not let the token request through",
            "Check HTTPS_PROXY, or name the host in NO_PROXY",
        ),
        (
            requests.exceptions.SSLError,
            "endpoint_tls",
            f"the certificate of {host} was not accepted",
            "Where a proxy re-signs TLS, name its CA in REQUESTS_CA_BUNDLE",
        ),
        (
            requests.exceptions.ConnectTimeout,
            "endpoint_unreachable",
            f"{host} cannot be reached: no connection within {CONNECT_TIMEOUT:g} s",
            way,
        ),
        (
            requests.exceptions.ConnectionError,
            "endpoint_unreachable",
            f"{host} cannot be reached",
            way,
        ),
    )
    for kind, cause, detail, remedy in kinds:
        if isinstance(error, kind):
            return TokenError(
                detail, cause=cause, fault=Fault.OPERATOR, remedy=remedy, log_detail=type(error).__name__
            )
    return TokenError(
        f"the token request to {host} could not be sent",
        cause="endpoint_misconfigured",
        fault=Fault.OPERATOR,
        remedy="Check the token endpoint's URL, REQUESTS_CA_BUNDLE and HTTPS_PROXY",
        log_detail=type(error).__name__,
    )


def looked_up_in_vain(error: BaseException) -> bool:
    """Whether a name server was missing (EAI_AGAIN), and not the name: requests wraps that several times over."""
    seen: set[int] = set()
    left: list[object] = [error]
    while left:
        one = left.pop()
        if id(one) in seen or not isinstance(one, BaseException):
            continue
        seen.add(id(one))
        if isinstance(one, socket.gaierror) and one.errno == socket.EAI_AGAIN:
            return True
        left += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    return False


def _name(host: str) -> str:
    """Without its port."""
    try:
        return urlsplit(f"//{host}").hostname or host
    except ValueError:
        return host


def _too_many(host: str, error: GoogleError) -> TokenError:
    """A quota is no outage: waiting mends it for a while, and asking less often, or a higher quota, for good."""
    found = why(error)
    return TokenError(
        f"{host} answered 429 {error.said}",
        cause="quota_exceeded",
        fault=Fault.OPERATOR,
        remedy=found.remedy if found else None,
        retry_after=10,
    )
