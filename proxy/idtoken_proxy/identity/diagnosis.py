"""Why a receiver refuses, and the command that mends it, in two tables: what IAP says, and what Google's front end says.

What there is to go by: the route, the token's claims, the answer's head and, where somebody read it, its body.

https://cloud.google.com/run/docs/troubleshooting, https://cloud.google.com/run/docs/configuring/custom-audiences,
https://cloud.google.com/iap/docs/authentication-howto, https://cloud.google.com/functions/1stgendocs/securing/authenticating.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from idtoken_proxy.identity.answer import Answer, Speaker
from idtoken_proxy.identity.resource import FUNCTIONS, RUN, Resource
from idtoken_proxy.identity.token import IdToken
from idtoken_proxy.settings.addresses import is_loopback
from idtoken_proxy.settings.audience import derived_audience, untagged
from idtoken_proxy.settings.doubts import audience_doubt
from idtoken_proxy.settings.model import Route, SignedJwtIdentity, TokenHeader
from idtoken_proxy.settings.names import is_iap_client


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`cause`: a slug; `detail`: what is wrong; `remedy`: what mends it, commands with the user's own names in them."""

    cause: str
    detail: str
    remedy: str


def diagnose(route: Route, token: IdToken | None, answer: Answer, now: float) -> Diagnosis | None:
    """None: the answer is the app's own. `token`: what was sent; `now`: this machine's clock, Unix seconds, when the
    answer came. Where nobody can tell who answered, the detail begins with "if".
    """
    speaker = answer.speaker
    if speaker is Speaker.APP:
        return None
    case = _Case(route, token, answer, now)
    rule = next(rule for rule in _table(speaker, answer.status) if rule.applies(case))
    words = case.words()
    detail = rule.detail.format_map(words)
    if speaker is Speaker.PERHAPS:
        detail = f"if it is Google that answers {answer.status} here, and not the app: {detail}"
    return Diagnosis(rule.cause, detail, rule.remedy.format_map(words))


def wrong_clock(ahead: float, whose: str = "the receiver's") -> Diagnosis:
    """Of seconds that this machine's clock is ahead of another, where nothing has been refused for it yet."""
    detail = f"{_clock(ahead, whose)}: tokens are not valid there when they are here"
    return Diagnosis("clock_skew", detail, _SET_CLOCK)


# -- what is known of a case ---------------------------------------------------

_EXPECTED: Final = re.compile(r"doesn't match expected value \(([A-Za-z0-9._-]+)\)")
_CLIENT: Final = re.compile(r"[?&]client_id=([A-Za-z0-9._-]+)")
_EMAIL: Final = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+")
_UNPRINTABLE: Final = re.compile(r"[^!-~]")


class _Case:
    def __init__(self, route: Route, token: IdToken | None, answer: Answer, now: float) -> None:
        self.route = route
        self.upstream = route.upstream
        self.header = route.token_header
        self.token = token
        self.status = answer.status
        self.said = answer.body or ""
        self.audience = route.audience or "none"
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
    def unread(self) -> frozenset[TokenHeader]:
        """Where the front end does not look for a token."""
        mine = {TokenHeader.PROXY_AUTHORIZATION}
        return frozenset(mine | {TokenHeader.X_SERVERLESS_AUTHORIZATION} if self.is_function else mine)

    @property
    def differs(self) -> bool:
        return self.token is not None and not self.token.is_for(self.audience)

    @property
    def is_persons(self) -> bool:
        """Google puts the login's OAuth client into a person's token, whatever audience was asked."""
        return self.token is not None and is_iap_client(self.token.audience) and self.differs

    def words(self) -> Mapping[str, str]:
        """What the tables' texts may name. A token's claims may hold anything, and come out fit for a terminal."""
        told = (self.token.email or "") if self.token else ""
        email = told if _EMAIL.fullmatch(told) else "EMAIL"
        is_user = email != "EMAIL" and not email.endswith(".gserviceaccount.com")
        member = f"{'user' if is_user else 'serviceAccount'}:{email}"
        aud = _UNPRINTABLE.sub("?", self.token.audience) if self.token else "none"
        resource = self.meant if self.own.kind == "other" else self.own
        at = f"{resource.name} --region={resource.region}"
        if resource.project is not None:
            at += f" --project={resource.project}"
        gcloud = "functions" if resource.kind == "function" else "run services"
        return {
            "route": self.route.name,
            "status": str(self.status),
            "host": self.upstream.authority,
            "origin": self.upstream.origin,
            "header": self.header.value,
            "audience": self.audience,
            "right_audience": f"https://{self.right_host}",
            "aud": aud,
            "email": email,
            "caller": email if told == email else "the caller",
            "service_account": "EMAIL" if is_user else email,
            "what": self.upstream.authority if self.own.kind == "other" else resource.name,
            "clock": _clock(self.skew) if self.skew is not None else "this machine's clock may be wrong",
            "expected": self.expected or "CLIENT_ID",
            "function_url": f"{self.upstream.origin}/{self.own.name}",
            "at": at,
            "grant": _grant(resource, at, member),
            "open": f"gcloud run services add-iam-policy-binding {at} --member=allUsers --role=roles/run.invoker",
            "register": f"gcloud run services update {at} --add-custom-audiences={shlex.quote(self.audience)}",
            "register_aud": f"gcloud run services update {at} --add-custom-audiences={shlex.quote(aud)}",
            "describe": f"gcloud {gcloud} describe {at}",
            "logs": f"gcloud {gcloud} logs read {at} --limit=50",
            "url": f"gcloud run services describe {at} --format='value(status.url)'",
            "iap": f"--resource-type=backend-services --service=BACKEND_SERVICE --member={member}"
            if self.is_custom
            else f"--resource-type=cloud-run --service={at} --member={member}",
        }


def _grant(resource: Resource, at: str, member: str) -> str:
    if resource.kind != "function":
        return f"gcloud run services add-iam-policy-binding {at} --member={member} --role=roles/run.invoker"
    return (
        f"gcloud functions add-iam-policy-binding {at} --member={member} --role=roles/cloudfunctions.invoker; for a "
        f"2nd-generation function: gcloud functions add-invoker-policy-binding {at} --member={member}"
    )


def _clock(ahead: float, whose: str = "the receiver's") -> str:
    seconds = abs(ahead)
    size, unit = (3600, "h") if seconds >= 7200 else (60, "min") if seconds >= 120 else (1, "s")
    return (
        f"this machine's clock is {seconds / size:.0f} {unit} {'ahead of' if ahead > 0 else 'behind'} {whose}"
    )


# -- the tables ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Rule:
    cause: str
    applies: Callable[[_Case], bool]
    detail: str
    remedy: str


def _always(_case: _Case) -> bool:
    return True


_SET_CLOCK: Final = (
    "Set the clock, and keep it set: timedatectl set-ntp true (in a container or VM, the host's clock)"
)
_IMPERSONATE: Final = (
    "In route {route}: identity: {{type: impersonated, service_account: EMAIL}}, and grant that to yourself: gcloud iam "
    "service-accounts add-iam-policy-binding EMAIL --member=user:{email} "
    "--role=roles/iam.serviceAccountOpenIdTokenCreator"
)
_SIGN: Final = (
    "where Google manages IAP's OAuth client, no ID token is taken: identity: {{type: signed_jwt, service_account: "
    "{service_account}}} and audience: {origin}/*"
)
_FIND_CLIENT: Final = "curl -sI {origin}/ shows it, as client_id in Location"

_OF_IAP: Final = (
    _Rule(
        "no_identity",
        lambda case: case.token is None,
        "IAP stands before {host}, and route {route} sends no token (identity: none)",
        "Give route {route} an identity, and audience: {expected}; " + _FIND_CLIENT,
    ),
    _Rule(
        "clock_skew",
        lambda case: "Expired JWT" in case.said or (case.status == 401 and case.skew is not None),
        "IAP before {host} holds the token for expired: {clock}",
        _SET_CLOCK,
    ),
    _Rule(
        "iap_no_access",
        lambda case: case.status == 403,
        "{caller} may not pass IAP before {host}",
        "gcloud iap web add-iam-policy-binding {iap} --role=roles/iap.httpsResourceAccessor",
    ),
    _Rule(
        "iap_header",
        lambda case: case.header is TokenHeader.X_SERVERLESS_AUTHORIZATION,
        "IAP before {host} does not read {header}",
        "In route {route}: token_header: auto",
    ),
    _Rule(
        "iap_no_email",
        lambda case: "'email' claim" in case.said,
        "IAP before {host} wants a token that names its bearer's email, and this one does not",
        "Have it made so: gcloud auth print-identity-token --impersonate-service-account={service_account} "
        "--audiences={audience} --include-email; the identities metadata, service_account and impersonated do it anyway",
    ),
    _Rule(
        "iap_signed_audience",
        lambda case: isinstance(case.route.identity, SignedJwtIdentity),
        "IAP before {host} does not take the JWT that {caller} signed for {aud}",
        "In route {route}: audience: {origin}/*; or, where IAP has an OAuth client of its own, audience: {expected} and "
        "an identity with ID tokens; " + _FIND_CLIENT,
    ),
    _Rule(
        "user_audience",
        lambda case: case.is_persons,
        "{caller} is a person, whose tokens are for {aud} whatever is asked; IAP before {host} takes its own client ID alone",
        _IMPERSONATE,
    ),
    _Rule(
        "iap_client_id",
        lambda case: case.expected is not None and case.expected != case.audience,
        "IAP before {host} takes tokens for {expected}, and route {route} has them made for {audience}",
        "In route {route}: audience: {expected}; " + _SIGN,
    ),
    _Rule(
        "iap_client_id",
        lambda case: not is_iap_client(case.audience),
        "IAP before {host} takes tokens for its OAuth client ID, which {audience} is not",
        "In route {route}: audience: {expected} (" + _FIND_CLIENT + "); " + _SIGN,
    ),
    _Rule(
        "iap_credential",
        _always,
        "IAP before {host} does not take the token of {caller} for {aud}",
        "Compare that with IAP's own client ID (" + _FIND_CLIENT + "); " + _SIGN,
    ),
)

_REDIRECT: Final = (
    _Rule(
        "sign_in",
        _always,
        "{host} sends the caller to sign in, as IAP does where it finds no token that it takes",
        "In route {route}: audience: {expected}; " + _SIGN,
    ),
)

# A token that does not verify; expired and wrong audience look the same.
_UNAUTHORIZED: Final = (
    _Rule(
        "no_identity",
        lambda case: case.token is None,
        "{host} does not take the app's own Authorization, and route {route} sends no token (identity: none)",
        "Give route {route} an identity, such as identity: auto",
    ),
    _Rule(
        "clock_skew",
        lambda case: case.skew is not None,
        "{host} holds the token for expired: {clock}",
        _SET_CLOCK,
    ),
    _Rule(
        "user_audience",
        lambda case: case.is_persons,
        "{caller} is a person, whose tokens are for {aud} whatever is asked; {host} wants {audience}",
        _IMPERSONATE,
    ),
    _Rule(
        "token_audience",
        lambda case: case.differs,
        "the token is for {aud}, and {host} does not take it; route {route}'s audience is {audience}",
        "Have the token made for {audience}; or let the service take it as it is: {register_aud}",
    ),
    _Rule(
        "function_audience",
        lambda case: case.is_function and not case.audience_path,
        "a function's audience is its whole URL with its name, and {audience} has none",
        "In route {route}: audience: {function_url}",
    ),
    _Rule(
        "function_audience",
        lambda case: case.is_function,
        "the function at {host} does not take tokens for {audience}",
        "In route {route}: audience: {function_url}; for a 2nd-generation function, make its run.app URL the upstream and "
        "leave audience out: gcloud functions describe {at} --format='value(serviceConfig.uri)'",
    ),
    _Rule(
        "tag_audience",
        lambda case: case.is_tagged,
        "{audience} is a traffic tag's URL, and Cloud Run takes tokens for the service's own alone",
        "In route {route}: audience: {right_audience}",
    ),
    _Rule(
        "audience_with_path",
        lambda case: case.audience_host.endswith(RUN) and bool(case.audience_path.strip("/")),
        "Cloud Run's audience is the service's URL without a path, and route {route}'s is {audience}",
        "In route {route}: audience: {right_audience}",
    ),
    _Rule(
        "custom_domain_audience",
        lambda case: case.is_custom and case.audience_host == case.upstream.authority,
        "a custom domain is no audience of the service behind it, and route {route}'s is {audience}",
        "In route {route}, take the service's run.app URL for an audience ({url}); or register this one: {register}",
    ),
    _Rule(
        "audience_not_exact",
        lambda case: audience_doubt(case.route) is not None,
        "Google compares an audience to the octet, and {audience} is not written as it writes the service's URL",
        "In route {route}: audience: {right_audience}",
    ),
    _Rule(
        "other_service_audience",
        lambda case: case.is_another_service,
        "the audience {audience} is another service's than {host}",
        "In route {route}: audience: {origin}",
    ),
    _Rule(
        "audience_not_registered",
        lambda case: case.audience != case.own_audience,
        "the service at {host} does not take tokens for {audience}",
        "In route {route}, take the service's run.app URL for an audience ({url}); or register this one: {register}",
    ),
    _Rule(
        "invalid_token",
        _always,
        "{host} does not take the token of {caller} for {audience}, which looks right",
        "Compare the audience with the service's URL: {url}; and see whether {caller} still exists",
    ),
)

# A good token of someone who may not, or none at all.
_FORBIDDEN: Final = (
    _Rule(
        "no_identity",
        lambda case: case.token is None,
        "{host} is private, and route {route} sends no token (identity: none)",
        "Give route {route} an identity, such as identity: auto; or open the service to everybody: {open}",
    ),
    _Rule(
        "header_not_read",
        lambda case: case.header in case.unread,
        "{host} does not read {header}, where route {route} puts the token",
        "In route {route}: token_header: auto",
    ),
    _Rule("no_invoker", _always, "{caller} may not invoke {what}", "{grant}"),
)

_NOT_FOUND: Final = (
    _Rule(
        "no_such_service",
        _always,
        "nothing answers to {host} here: no such service is there, or its run.app URL is turned off, or its ingress setting "
        "keeps out callers from outside its network",
        "See what is there, and its ingress setting: {describe}",
    ),
)

_TOO_MANY: Final = (
    _Rule(
        "no_instance",
        _always,
        "{what} has no instance free for the request",
        "Allow more of them: gcloud run services update {at} --max-instances=N",
    ),
)

_DOWN: Final = (
    _Rule(
        "receiver_down",
        _always,
        "{what} did not come up, or broke off at the request (status {status})",
        "See what it says: {logs}",
    ),
)

_OF_FRONT_END: Final = {401: _UNAUTHORIZED, 403: _FORBIDDEN, 404: _NOT_FOUND, 429: _TOO_MANY}


def _table(speaker: Speaker, status: int) -> tuple[_Rule, ...]:
    """Its last rule applies to all."""
    if speaker is Speaker.IAP:
        return _OF_IAP
    return _REDIRECT if status < 400 else _OF_FRONT_END.get(status, _DOWN)
