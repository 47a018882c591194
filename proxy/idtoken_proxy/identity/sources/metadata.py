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
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.sources.source import METADATA_REFRESH_AHEAD, SCOPE, AccessToken
from idtoken_proxy.identity.token import IdToken

DEFAULT_HOST = "metadata.google.internal"
_TIMEOUT = 4.0  # seconds, for connecting and again for each read; the cache's deadline bounds the whole
_MAX_BODY = 64 * 1024
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+")
_ELSEWHERE = (
    "Only Google Cloud has one. Elsewhere: identity: auto, after gcloud auth application-default login; or "
    "{type: service_account, key_file: FILE}, or {type: external_account, config_file: FILE}; without Google: "
    "idtoken-proxy emulate"
)


def metadata_host(configured: str | None, environ: Mapping[str, str]) -> str:
    """`host` or `host:port`. Google's libraries know GCE_METADATA_HOST without a scheme; some people add one."""
    host = configured or environ.get("GCE_METADATA_HOST") or DEFAULT_HOST
    return host.removeprefix("http://").rstrip("/")


class MetadataSource:
    name = "metadata"
    refresh_ahead = METADATA_REFRESH_AHEAD

    def __init__(self, service_account: str = "default", host: str = DEFAULT_HOST) -> None:
        self._account = service_account
        self._host = host

    def describe(self) -> str:
        at = "" if self._host == DEFAULT_HOST else f" at {self._host}"
        return f"metadata server{at}, account {self._account}"

    def fetch(self, audience: str) -> IdToken:
        query = urlencode({"audience": audience, "format": "full"})
        body = self._asked(f"identity?{query}")
        return IdToken.parse(body.decode("latin-1"), origin="the metadata server", audience=audience)

    def access_token(self) -> AccessToken:
        """The scopes parameter is for those servers that heed it, such as GKE's and Cloud Run's."""
        body = self._asked(f"token?{urlencode({'scopes': SCOPE})}")
        try:
            value = json.loads(body)["access_token"]
            if not isinstance(value, str):
                raise TypeError  # noqa: TRY301 -- one more kind of garbage
        except (ValueError, TypeError, KeyError, RecursionError):
            raise TokenError(
                "the metadata server handed out something that is no access token",
                cause="garbage",
                fault=Fault.GOOGLE,
            ) from None
        return AccessToken(value)

    def member(self) -> str | None:
        email = self._account
        if "@" not in email:
            try:
                email = self._asked("email").decode("ascii").strip()
            except (TokenError, UnicodeDecodeError):
                return None
        return f"serviceAccount:{email}" if _EMAIL.fullmatch(email) else None

    def _asked(self, what: str) -> bytes:
        """The account's `what`. TokenError for any answer but a metadata server's 200."""
        status, flavor, body = self._get(what)
        if status != 200:
            raise self._refusal(status)
        if flavor != "Google":
            # https://cloud.google.com/compute/docs/metadata/querying-metadata: clients check it, so that a web
            # server that happens to answer there is not believed.
            raise TokenError(
                f"what answers at {self._host} is no metadata server (it sends no Metadata-Flavor: Google)",
                cause="metadata_foreign",
                fault=Fault.OPERATOR,
                remedy=_ELSEWHERE,
            )
        return body

    def _get(self, what: str) -> tuple[int, str | None, bytes]:
        account = quote(self._account, safe="@")
        path = f"/computeMetadata/v1/instance/service-accounts/{account}/{what}"
        try:
            connection = http.client.HTTPConnection(self._host, timeout=_TIMEOUT)
            try:
                connection.request("GET", path, headers={"Metadata-Flavor": "Google"})
                response = connection.getresponse()
                return response.status, response.headers["Metadata-Flavor"], response.read(_MAX_BODY)
            finally:
                connection.close()
        except http.client.InvalidURL:
            raise TokenError(
                f"{self._host!r} is no host for a metadata server",
                cause="metadata_host",
                fault=Fault.OPERATOR,
                remedy="Write google.metadata_host or GCE_METADATA_HOST as host or host:port",
            ) from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            # ValueError: a host name that does not encode (idna).
            raise TokenError(
                f"the metadata server at {self._host} cannot be reached",
                cause="metadata_unreachable",
                fault=Fault.OPERATOR,
                remedy=_ELSEWHERE,
                log_detail=f"{type(error).__name__}: {error}",
            ) from None

    def _refusal(self, status: int) -> TokenError:
        """The body stays unread: on GKE it may hold anything."""
        if status == 404:
            what = (
                "has no service account attached here"
                if self._account == "default"
                else f"knows no service account {self._account} here"
            )
            return TokenError(
                f"the metadata server {what}",
                cause="no_service_account",
                fault=Fault.OPERATOR,
                remedy="Attach one: gcloud run services update SERVICE --service-account=EMAIL, or for a VM "
                "gcloud compute instances set-service-account INSTANCE --service-account=EMAIL; on GKE, bind "
                "the pod's service account by Workload Identity",
            )
        if status == 429:
            # https://cloud.google.com/compute/docs/metadata/querying-metadata#rate_limits: for all of a machine together.
            return TokenError(
                "the metadata server answered 429",
                cause="metadata_unavailable",
                fault=Fault.GOOGLE,
                remedy="All on this machine together ask it too often. The proxy tries again by itself; see who else asks, as "
                "an app does that fetches a token for each request",
            )
        if status >= 500:
            return TokenError(
                f"the metadata server answered {status}", cause="metadata_unavailable", fault=Fault.GOOGLE
            )
        return TokenError(
            f"the metadata server refused ({status}) a token of account {self._account}",
            cause="metadata_refused",
            fault=Fault.OPERATOR,
            remedy="On GKE, the pod's service account needs roles/iam.workloadIdentityUser on the Google service account",
        )
