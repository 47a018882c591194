"""The metadata server of Compute Engine, Cloud Run, GKE and the rest.

https://cloud.google.com/compute/docs/instances/verifying-instance-identity and
https://cloud.google.com/run/docs/authenticating/service-to-service#acquire-token

With http.client, not with google-auth: this is one plain GET, and requests with google-auth would cost a
sidecar 200 ms of its start and 20 MB for as long as it runs. It also cannot be sent astray: no proxy variable
(link-local traffic never goes through one), no .netrc, no redirect.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Mapping
from time import time
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.clock import Wall
from idtoken_proxy.identity.sources.metadata_refusal import ELSEWHERE, refusal
from idtoken_proxy.identity.sources.source import CLOUD, METADATA_REFRESH_AHEAD
from idtoken_proxy.identity.token import UNTOLD_LIFE, AccessToken, IdToken
from idtoken_proxy.settings.identities import MetadataIdentity
from idtoken_proxy.settings.model import Scopes
from idtoken_proxy.settings.plausible import host_objection

if TYPE_CHECKING:
    from idtoken_proxy.identity.sources import Builder

HOST_VARIABLE = "GCE_METADATA_HOST"
DEFAULT_HOST = "metadata.google.internal"
_ADDRESS = "169.254.169.254"
_TIMEOUT = 4.0  # seconds, for connecting and again for each read; the cache's deadline bounds the whole
_MAX_BODY = 64 * 1024
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+")


def metadata_host(configured: str | None, environ: Mapping[str, str]) -> str:
    """`host` or `host:port`. Google's libraries know GCE_METADATA_HOST without a scheme; some people add one."""
    host = configured or environ.get(HOST_VARIABLE) or DEFAULT_HOST
    return host.removeprefix("http://").rstrip("/")


def metadata_variable(configured: str | None, environ: Mapping[str, str]) -> str | None:
    """What to do about GCE_METADATA_HOST, where it is what names the host: left over from somewhere else, it misleads."""
    if configured or not environ.get(HOST_VARIABLE):
        return None
    return f"unset {HOST_VARIABLE}, or name a metadata server in it"


class MetadataSource:
    name = "metadata"
    refresh_ahead = METADATA_REFRESH_AHEAD

    def __init__(
        self,
        service_account: str = "default",
        host: str = DEFAULT_HOST,
        address: str = _ADDRESS,
        *,
        first: str | None = None,
        wall: Wall = time,
    ) -> None:
        """`address`: where the server is when its usual name is unknown. `first`: what to do before all else where none
        is found (metadata_variable).
        """
        self._account = service_account
        self._host = host
        self._address = address
        self._wall = wall
        self._email = service_account if "@" in service_account else None
        self._elsewhere = ELSEWHERE if first is None else f"{first[0].upper()}{first[1:]}. {ELSEWHERE}"

    def describe(self) -> str:
        refused = host_objection(self._host)
        at = "" if self._host == DEFAULT_HOST else f" at {self._host}" if refused is None else ""
        return f"metadata server{at}, account {self._account}"

    def fetch(self, audience: str) -> IdToken:
        query = urlencode({"audience": audience, "format": "full"})
        body = self._asked(f"identity?{query}")
        return IdToken.parse(body.decode("latin-1"), origin="the metadata server", audience=audience)

    def access_token(self, scopes: Scopes = CLOUD) -> AccessToken:
        """The scopes parameter is for those servers that heed it, such as GKE's and Cloud Run's; a VM has its own."""
        asked = self._wall()
        body = self._asked(f"token?{urlencode({'scopes': ','.join(scopes.names)})}")
        origin = "the metadata server"
        try:
            answer = json.loads(body)
            value, life = answer["access_token"], float(answer.get("expires_in", UNTOLD_LIFE))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise TokenError(
                f"{origin} handed out something that is no access token", cause="garbage", fault=Fault.GOOGLE
            ) from None
        if self._email is None:
            self._email = self._email_alone()
        return AccessToken.of(value, origin=origin, asked=asked, life=life, email=self._email)

    def member(self) -> str | None:
        email = self._account if "@" in self._account else self._email_alone()
        return f"serviceAccount:{email}" if email is not None and _EMAIL.fullmatch(email) else None

    def _asked(self, what: str) -> bytes:
        """The account's `what`. TokenError for any answer but a metadata server's 200."""
        status, body = self._get(what)
        if status == 200:
            return body
        if status == 404 and what.startswith("identity") and self._account == "default":
            email = self._email_alone()
            if email is not None:
                raise _without_identity(email)
        raise refusal(status, body.decode("utf-8", "replace"), self._account)

    def _email_alone(self) -> str | None:
        """Whose the server is, where it has an account and no identity endpoint (Cloud Build)."""
        try:
            status, body = self._get("email")
        except TokenError:
            return None
        email = body.decode("latin-1").strip()
        return email if status == 200 and _EMAIL.fullmatch(email) else None

    def _get(self, what: str) -> tuple[int, bytes]:
        """Of a metadata server, whatever its status."""
        refused = host_objection(self._host)
        if refused is not None:
            raise TokenError(
                f"the metadata server's name (google.metadata_host or {HOST_VARIABLE}) {refused}",
                cause="metadata_host",
                fault=Fault.OPERATOR,
                remedy=f"Write google.metadata_host or {HOST_VARIABLE} as host or host:port",
            )
        account = quote(self._account, safe="@")
        path = f"/computeMetadata/v1/instance/service-accounts/{account}/{what}"
        try:
            connection = self._connected()
            try:
                connection.request("GET", path, headers={"Metadata-Flavor": "Google"})
                response = connection.getresponse()
                flavor, body = response.headers["Metadata-Flavor"], response.read(_MAX_BODY)
            finally:
                connection.close()
        except http.client.InvalidURL:
            raise TokenError(
                f"{self._host!r} is no host for a metadata server",
                cause="metadata_host",
                fault=Fault.OPERATOR,
                remedy="Write google.metadata_host or GCE_METADATA_HOST as host or host:port",
            ) from None
        except TimeoutError:
            # It was reached, so there is one; to connect in vain is another matter, below.
            raise TokenError(
                f"the metadata server at {self._host} did not answer within {_TIMEOUT:g} s",
                cause="metadata_timeout",
                fault=Fault.GOOGLE,
                remedy="It comes back by itself, and the proxy tries again. On GKE see the node's own server: kubectl -n "
                "kube-system logs -l k8s-app=gke-metadata-server",
                log_detail="TimeoutError",
            ) from None
        except http.client.HTTPException as error:
            raise self._foreign(f"it speaks no HTTP: {type(error).__name__}") from None
        except (OSError, ValueError) as error:
            # ValueError: a host name that does not encode (idna).
            raise self._unreachable(error) from None
        if flavor != "Google":
            # https://cloud.google.com/compute/docs/metadata/querying-metadata: clients check it, so that a web server that
            # happens to answer there is not believed, whatever it says (google-cloud-go#7165).
            raise self._foreign(f"status {response.status}, without Metadata-Flavor: Google")
        return response.status, body

    def _connected(self) -> http.client.HTTPConnection:
        """OSError other than TimeoutError: nobody is there."""
        try:
            return _connect(self._host)
        except socket.gaierror:
            if self._host != DEFAULT_HOST:
                raise
            # Where a resolver of one's own does not know the name, the address is the same everywhere.
            return _connect(self._address)

    def _foreign(self, how: str) -> TokenError:
        return TokenError(
            f"what answers at {self._host} is no metadata server ({how})",
            cause="metadata_foreign",
            fault=Fault.OPERATOR,
            remedy=self._elsewhere,
        )

    def _unreachable(self, error: Exception) -> TokenError:
        return TokenError(
            f"the metadata server at {self._host} cannot be reached",
            cause="metadata_unreachable",
            fault=Fault.OPERATOR,
            remedy=self._elsewhere,
            log_detail=f"{type(error).__name__}: {error}",
        )


def _connect(host: str) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(host, timeout=_TIMEOUT)
    try:
        connection.connect()
    except TimeoutError as error:  # nobody was reached, which a server that hangs is not
        raise ConnectionError(f"connect: {error}") from None
    return connection


def _without_identity(email: str) -> TokenError:
    """https://cloud.google.com/build/docs/securing-builds/authorize-service-to-service-access"""
    return TokenError(
        f"the metadata server is {email}'s and hands out no ID tokens, as on Cloud Build",
        cause="metadata_without_identity",
        fault=Fault.OPERATOR,
        remedy="Have one made by impersonation, of itself or of another: identity: {type: impersonated, service_account: "
        f"{email}, source: metadata}}; and grant it: gcloud iam service-accounts add-iam-policy-binding {email} "
        f"--member=serviceAccount:{email} --role=roles/iam.serviceAccountOpenIdTokenCreator",
    )


def build(identity: MetadataIdentity, by: Builder) -> MetadataSource:
    configured = by.google.metadata_host
    return MetadataSource(
        identity.service_account,
        metadata_host(configured, by.environ),
        first=metadata_variable(configured, by.environ),
        wall=by.wall,
    )
