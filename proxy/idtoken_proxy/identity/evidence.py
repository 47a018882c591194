"""What is known of a refusal: the route, the token that was sent, the answer; and the words that a text about it may use."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from functools import cached_property
from typing import Final

from idtoken_proxy.identity.answer import Answer
from idtoken_proxy.identity.gcp_resource import FUNCTIONS, RUN, Resource
from idtoken_proxy.identity.google_error import UNKNOWN, GoogleError
from idtoken_proxy.identity.reasons import project_of
from idtoken_proxy.identity.redaction import redacted
from idtoken_proxy.identity.token import IdToken, Token
from idtoken_proxy.settings.addresses import is_loopback
from idtoken_proxy.settings.audience import derived_audience, untagged
from idtoken_proxy.settings.model import Route, TokenHeader, asked_for
from idtoken_proxy.settings.names import is_iap_client

_APIS: Final = ".googleapis.com"
_OF_RIGHTS: Final = re.compile(r"permission|not authorized|access denied", re.IGNORECASE)
_IDENTIFIED: Final = re.compile(r"UniqueIdentifier:? ([A-Za-z0-9_-]{16,80})")
_HEADING: Final = re.compile(r"^(?:403\.? )?(?:Error: )?Forbidden\s*")
_SHOWN_PATH: Final = re.compile(r"/[A-Za-z_]{1,20}(?:/[A-Za-z_]{0,20})?")
_EXPECTED: Final = re.compile(r"doesn't match expected value \(([A-Za-z0-9._-]+)\)")
_CLIENT: Final = re.compile(r"[?&]client_id=([A-Za-z0-9._-]+)")
_PRINCIPAL: Final = re.compile(r"principal(?:Set)?://[A-Za-z0-9._~%/*-]{1,300}")
_EMAIL: Final = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+")
_UNPRINTABLE: Final = re.compile(r"[^!-~]")


class Evidence:
    """`path`: of the request, as it went to the receiver, without its query."""

    def __init__(self, route: Route, token: Token | None, answer: Answer, now: float, path: str = "") -> None:
        self.route = route
        self.upstream = route.upstream
        self.header = route.token_header
        self.token = token
        self.status = answer.status
        self.said = answer.body or ""
        self.unread = answer.body is None
        self.sentence = answer.sentence
        self.path = path
        self.error = _error_of(answer)
        self.audience = route.audience or "none"
        self.scopes = route.scopes
        self.skew = answer.clock_skew(now)
        self.own = Resource.of(self.upstream.host, self.upstream.base_path)
        self.meant = Resource.behind(self.audience)
        host, _, self.audience_path = self.audience.partition("://")[2].partition("/")
        self.audience_host = host.lower()
        expected = _EXPECTED.search(self.said) or _CLIENT.search(answer.location)
        self.expected = expected[1] if expected else None

    @property
    def is_function(self) -> bool:
        return self.own.kind == "function"

    @property
    def is_tagged(self) -> bool:
        return self.audience_host.endswith(RUN) and self.right_host != self.audience_host

    @property
    def own_audience(self) -> str | None:
        """What the upstream's URL says by itself."""
        try:
            return derived_audience(self.upstream)
        except ValueError:
            return self.upstream.origin

    @property
    def right_host(self) -> str:
        """The audience's, as Google writes it: without a tag, a port or a dot at its end."""
        host = self.audience_host.partition(":")[0].rstrip(".")
        try:
            return untagged(host)
        except ValueError:
            return host

    @property
    def is_custom(self) -> bool:
        """A domain of the user's own, or a load balancer's address."""
        host = self.upstream.host
        return not host.endswith((RUN, FUNCTIONS)) and not is_loopback(host)

    @property
    def is_another_service(self) -> bool:
        own, meant = self.own, self.meant
        if not own.kind == meant.kind == "run":
            return False
        return own.name != meant.name or (
            "REGION" not in (own.region, meant.region) and own.region != meant.region
        )

    @property
    def is_api(self) -> bool:
        """One of Google's own APIs, which speak Google's error model, and have no app behind them."""
        return self.scopes is not None or self.upstream.host.endswith(_APIS)

    @property
    def keeps_path(self) -> bool:
        """https://cloud.google.com/run/docs/known-issues#ah: /eventlog, what begins with /_ah/, and some paths that end
        in z.
        """
        path = self.path
        return path in ("/eventlog", "/_ah") or path.startswith("/_ah/") or path.rstrip("/").endswith("z")

    @property
    def speaks_of_rights(self) -> bool:
        """Or says no more than that it is forbidden."""
        said = _HEADING.sub("", self.sentence)
        return self.unread or not said or _OF_RIGHTS.search(said) is not None

    @property
    def deaf_to(self) -> frozenset[TokenHeader]:
        """Where the front end does not look for a token."""
        mine = {TokenHeader.PROXY_AUTHORIZATION}
        return frozenset(mine | {TokenHeader.X_SERVERLESS_AUTHORIZATION} if self.is_function else mine)

    @property
    def differs(self) -> bool:
        return isinstance(self.token, IdToken) and not self.token.is_for(self.audience)

    @property
    def is_persons(self) -> bool:
        """Google puts the login's OAuth client into a person's token, whatever audience was asked."""
        token = self.token
        return isinstance(token, IdToken) and is_iap_client(token.audience) and self.differs

    @property
    def principal(self) -> str | None:
        """The caller as IAM names it, where that is no account: an agent or a workload by its SPIFFE ID, or a pool's members.
        https://cloud.google.com/iam/docs/agent-identity-overview
        """
        subject = (self.token.subject or "") if self.token is not None and not self.token.email else ""
        name = f"principal{subject.removeprefix('spiffe')}" if subject.startswith("spiffe://") else subject
        return name if _PRINCIPAL.fullmatch(name) else None

    @cached_property
    def words(self) -> Mapping[str, str]:
        """What the tables' texts may name. A token's claims may hold anything, and come out fit for a terminal."""
        told = (self.token.email or "") if self.token else ""
        email = told if _EMAIL.fullmatch(told) else "EMAIL"
        is_user = email != "EMAIL" and not email.endswith(".gserviceaccount.com")
        principal = self.principal
        member = principal or f"{'user' if is_user else 'serviceAccount'}:{email}"
        aud = _UNPRINTABLE.sub("?", self.token.audience) if isinstance(self.token, IdToken) else "none"
        resource = self.meant if self.own.kind == "other" else self.own
        at = f"{resource.name} --region={resource.region}"
        project = resource.project or project_of(email)
        in_project = ""
        if resource.kind == "function" and resource.project is not None:
            at += f" --project={resource.project}"
        elif project is not None:
            # A hash URL does not tell it; most often it is the caller's own.
            in_project = f" --project={project}"
        gcloud = "functions" if resource.kind == "function" else "run services"
        return {
            "route": self.route.name,
            "status": str(self.status),
            "host": self.upstream.authority,
            "origin": self.upstream.origin,
            "header": self.header.value,
            "audience": self.audience,
            "right_audience": f"https://{self.right_host}",
            "scopes": asked_for(self.scopes),
            "aud": aud,
            "email": email,
            "caller": principal or (email if told == email else "the caller"),
            "service_account": "EMAIL" if is_user else email,
            "what": self.upstream.authority if self.own.kind == "other" else resource.name,
            "sentence": redacted(self.error.message or self.sentence or "it does not say why"),
            "permission": self.error.permission or "the permission",
            "path": self.path if _SHOWN_PATH.fullmatch(self.path) else "this path",
            "limit": "10 MB of a 1st-generation function (32 MB of a 2nd)"
            if self.is_function
            else "32 MiB of HTTP/1",
            "project": project or "PROJECT",
            "in_project": in_project,
            "member": member,
            "clock": clock_words(self.skew) if self.skew is not None else "this machine's clock may be wrong",
            "expected": self.expected or "CLIENT_ID",
            "function_url": f"{self.upstream.origin}/{self.own.name}",
            "at": at,
            "grant": _grant(resource, at, member, in_project),
            "open": f"gcloud run services add-iam-policy-binding {at} --member=allUsers --role=roles/run.invoker{in_project}",
            "register": f"gcloud run services update {at} --add-custom-audiences={shlex.quote(self.audience)}{in_project}",
            "register_aud": f"gcloud run services update {at} --add-custom-audiences={shlex.quote(aud)}{in_project}",
            "describe": f"gcloud {gcloud} describe {at}{in_project}",
            "logs": f"gcloud {gcloud} logs read {at} --limit=50{in_project}",
            "url": f"gcloud run services describe {at} --format='value(status.url)'{in_project}",
            "iap": f"--resource-type=backend-services --service=BACKEND_SERVICE --member={member}"
            if self.is_custom
            else f"--resource-type=cloud-run --service={at} --member={member}",
        }


def _grant(resource: Resource, at: str, member: str, in_project: str) -> str:
    if resource.kind != "function":
        return f"gcloud run services add-iam-policy-binding {at} --member={member} --role=roles/run.invoker{in_project}"
    return (
        f"gcloud functions add-iam-policy-binding {at} --member={member} --role=roles/cloudfunctions.invoker; for a "
        f"2nd-generation function: gcloud functions add-invoker-policy-binding {at} --member={member}"
    )


def clock_words(ahead: float, whose: str = "the receiver's") -> str:
    seconds = abs(ahead)
    size, unit = (3600, "h") if seconds >= 7200 else (60, "min") if seconds >= 120 else (1, "s")
    return (
        f"this machine's clock is {seconds / size:.0f} {unit} {'ahead of' if ahead > 0 else 'behind'} {whose}"
    )


def _error_of(answer: Answer) -> GoogleError:
    """Of a page, its words: VPC Service Controls and policies speak through those too."""
    body = answer.body
    if body is None:
        return GoogleError(answer.status)
    error = GoogleError.read(answer.status, body.encode())
    if error.code != UNKNOWN or answer.content_type.startswith("application/json"):
        return error
    found = _IDENTIFIED.search(answer.sentence)
    return GoogleError(
        answer.status, message=redacted(answer.sentence), identifier=found[1] if found else None
    )
