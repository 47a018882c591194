"""Why Google's front end and IAP refuse, and the command that mends it: one table for each kind of answer.

A table is read from its top, and its last rule applies to all. https://cloud.google.com/run/docs/troubleshooting,
https://cloud.google.com/run/docs/configuring/custom-audiences, https://cloud.google.com/iap/docs/authentication-howto,
https://cloud.google.com/functions/1stgendocs/securing/authenticating, https://cloud.google.com/run/quotas.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from idtoken_proxy.identity.answer import Speaker
from idtoken_proxy.identity.evidence import Evidence
from idtoken_proxy.identity.gcp_resource import RUN
from idtoken_proxy.identity.reasons import lacks_a_right
from idtoken_proxy.settings.doubts import audience_doubt
from idtoken_proxy.settings.identities import SignedJwtIdentity
from idtoken_proxy.settings.model import TokenHeader
from idtoken_proxy.settings.names import is_iap_client


@dataclass(frozen=True, slots=True)
class Rule:
    cause: str
    applies: Callable[[Evidence], bool]
    detail: str
    remedy: str


def _always(_case: Evidence) -> bool:
    return True


SET_CLOCK: Final = (
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

_AGENT: Final = "{host} does not let {caller} in, which is no service account"
# Whether Cloud Run takes an agent's own token is told both ways: the right first, and then what works in any case.
_OF_AGENT: Final = (
    "{grant}; and where that changes nothing, have a service account's token made: in route {route}: identity: {{type: "
    "impersonated, service_account: EMAIL, source: metadata}}, and gcloud iam service-accounts add-iam-policy-binding EMAIL "
    "--member={member} --role=roles/iam.serviceAccountOpenIdTokenCreator"
)

_OF_IAP: Final = (
    Rule(
        "no_identity",
        lambda case: case.token is None,
        "IAP stands before {host}, and route {route} sends no token (identity: none)",
        "Give route {route} an identity, and audience: {expected}; " + _FIND_CLIENT,
    ),
    Rule(
        "clock_skew",
        lambda case: "Expired JWT" in case.said or (case.status == 401 and case.skew is not None),
        "IAP before {host} holds the token for expired: {clock}",
        SET_CLOCK,
    ),
    Rule(
        "iap_no_access",
        lambda case: case.status == 403,
        "{caller} may not pass IAP before {host}",
        "gcloud iap web add-iam-policy-binding {iap} --role=roles/iap.httpsResourceAccessor",
    ),
    Rule(
        "iap_header",
        lambda case: case.header is TokenHeader.X_SERVERLESS_AUTHORIZATION,
        "IAP before {host} does not read {header}",
        "In route {route}: token_header: auto",
    ),
    Rule(
        "iap_no_email",
        lambda case: "'email' claim" in case.said,
        "IAP before {host} wants a token that names its bearer's email, and this one does not",
        "Have it made so: gcloud auth print-identity-token --impersonate-service-account={service_account} "
        "--audiences={audience} --include-email; the identities metadata, service_account and impersonated do it anyway",
    ),
    Rule(
        "iap_signed_audience",
        lambda case: isinstance(case.route.identity, SignedJwtIdentity),
        "IAP before {host} does not take the JWT that {caller} signed for {aud}",
        "In route {route}: audience: {origin}/*; or, where IAP has an OAuth client of its own, audience: {expected} and "
        "an identity with ID tokens; " + _FIND_CLIENT,
    ),
    Rule(
        "user_audience",
        lambda case: case.is_persons,
        "{caller} is a person, whose tokens are for {aud} whatever is asked; IAP before {host} takes its own client ID alone",
        _IMPERSONATE,
    ),
    Rule(
        "iap_client_id",
        lambda case: case.expected is not None and case.expected != case.audience,
        "IAP before {host} takes tokens for {expected}, and route {route} has them made for {audience}",
        "In route {route}: audience: {expected}; " + _SIGN,
    ),
    Rule(
        "iap_client_id",
        lambda case: not is_iap_client(case.audience),
        "IAP before {host} takes tokens for its OAuth client ID, which {audience} is not",
        "In route {route}: audience: {expected} (" + _FIND_CLIENT + "); " + _SIGN,
    ),
    Rule(
        "iap_credential",
        _always,
        "IAP before {host} does not take the token of {caller} for {aud}",
        "Compare that with IAP's own client ID (" + _FIND_CLIENT + "); " + _SIGN,
    ),
)

_REDIRECT: Final = (
    Rule(
        "sign_in",
        _always,
        "{host} sends the caller to sign in, as IAP does where it finds no token that it takes",
        "In route {route}: audience: {expected}; " + _SIGN,
    ),
)

# A token that does not verify; expired and wrong audience look the same.
_UNAUTHORIZED: Final = (
    Rule(
        "no_identity",
        lambda case: case.token is None,
        "{host} does not take the app's own Authorization, and route {route} sends no token (identity: none)",
        "Give route {route} an identity, such as identity: auto",
    ),
    Rule(
        "clock_skew",
        lambda case: case.skew is not None,
        "{host} holds the token for expired: {clock}",
        SET_CLOCK,
    ),
    Rule(
        "user_audience",
        lambda case: case.is_persons,
        "{caller} is a person, whose tokens are for {aud} whatever is asked; {host} wants {audience}",
        _IMPERSONATE,
    ),
    Rule(
        "token_audience",
        lambda case: case.differs,
        "the token is for {aud}, and {host} does not take it; route {route}'s audience is {audience}",
        "Have the token made for {audience}; or let the service take it as it is: {register_aud}",
    ),
    Rule(
        "function_audience",
        lambda case: case.is_function and not case.audience_path,
        "a function's audience is its whole URL with its name, and {audience} has none",
        "In route {route}: audience: {function_url}",
    ),
    Rule(
        "function_audience",
        lambda case: case.is_function,
        "the function at {host} does not take tokens for {audience}",
        "In route {route}: audience: {function_url}; for a 2nd-generation function, make its run.app URL the upstream and "
        "leave audience out: gcloud functions describe {at} --format='value(serviceConfig.uri)'",
    ),
    Rule(
        "tag_audience",
        lambda case: case.is_tagged,
        "{audience} is a traffic tag's URL, and Cloud Run takes tokens for the service's own alone",
        "In route {route}: audience: {right_audience}",
    ),
    Rule(
        "audience_with_path",
        lambda case: case.audience_host.endswith(RUN) and bool(case.audience_path.strip("/")),
        "Cloud Run's audience is the service's URL without a path, and route {route}'s is {audience}",
        "In route {route}: audience: {right_audience}",
    ),
    Rule(
        "custom_domain_audience",
        lambda case: case.is_custom and case.audience_host == case.upstream.authority,
        "a custom domain is no audience of the service behind it, and route {route}'s is {audience}",
        "In route {route}, take the service's run.app URL for an audience ({url}); or register this one: {register}",
    ),
    Rule(
        "audience_not_exact",
        lambda case: audience_doubt(case.route) is not None,
        "Google compares an audience to the octet, and {audience} is not written as it writes the service's URL",
        "In route {route}: audience: {right_audience}",
    ),
    Rule(
        "other_service_audience",
        lambda case: case.is_another_service,
        "the audience {audience} is another service's than {host}",
        "In route {route}: audience: {origin}",
    ),
    Rule(
        "audience_not_registered",
        lambda case: case.audience != case.own_audience,
        "the service at {host} does not take tokens for {audience}",
        "In route {route}, take the service's run.app URL for an audience ({url}); or register this one: {register}",
    ),
    Rule("agent_refused", lambda case: case.principal is not None, _AGENT, _OF_AGENT),
    Rule(
        "invalid_token",
        _always,
        "{host} does not take the token of {caller} for {audience}, which looks right",
        "Compare the audience with the service's URL (a 1st-generation function's ends in its name): {url}; and see whether {caller} still exists",
    ),
)

# A good token of someone who may not, or none at all.
_FORBIDDEN: Final = (
    Rule(
        "no_identity",
        lambda case: case.token is None,
        "{host} is private, and route {route} sends no token (identity: none)",
        "Give route {route} an identity, such as identity: auto; or open the service to everybody: {open}",
    ),
    Rule(
        "header_not_read",
        lambda case: case.header in case.deaf_to,
        "{host} does not read {header}, where route {route} puts the token",
        "In route {route}: token_header: auto",
    ),
    Rule(
        "ingress",
        lambda case: "Access is forbidden" in case.said,
        "the ingress setting of {host} keeps out callers from outside its network",
        "Let them in, where that is meant: gcloud run services update {at} --ingress=all{in_project}; or call it from inside",
    ),
    Rule(
        "agent_refused", lambda case: case.principal is not None and case.speaks_of_rights, _AGENT, _OF_AGENT
    ),
    Rule("no_invoker", lambda case: case.speaks_of_rights, "{caller} may not invoke {what}", "{grant}"),
    Rule(
        "refused_otherwise",
        _always,
        "{host} refuses it, and says: {sentence}",
        "That sentence is Google's own, and names no role; see the service's settings: {describe}",
    ),
)

# Google's own APIs, which have no app behind them. What their error says by its reason is in reasons.py.
_OF_API: Final = (
    Rule(
        "no_identity",
        lambda case: case.token is None,
        "{host} wants to know who asks, and route {route} sends no token (identity: none)",
        "Give route {route} an identity, such as identity: auto",
    ),
    Rule(
        "token_kind",
        lambda case: case.status == 401 and case.scopes is None,
        "{host} takes access tokens, and route {route} sends an ID token",
        "In route {route}: token: access, without an audience",
    ),
    Rule(
        "access_token_refused",
        lambda case: case.status == 401,
        "{host} does not take the access token of {caller}: it was revoked, or {caller} was disabled or deleted: {sentence}",
        "Another one is fetched by itself. If it stays: see whether {caller} still exists, and make the credential anew (a "
        "login: gcloud auth application-default login)",
    ),
    Rule(
        "missing_permission",
        lambda case: lacks_a_right(case.error),
        "{caller} lacks {permission} at {host}: {sentence}",
        "Grant it a role that holds {permission}: gcloud projects add-iam-policy-binding {project} --member={member} "
        "--role=ROLE (https://cloud.google.com/iam/docs/permissions-reference)",
    ),
    Rule(
        "refused_otherwise",
        _always,
        "{host} refuses it (status {status}), and says: {sentence}",
        "That sentence is Google's own; no role is known that mends it",
    ),
)

_BAD_REQUEST: Final = (
    Rule(
        "malformed_request",
        _always,
        "Google's front end holds the request for malformed, and the app behind {host} has not seen it",
        "See what the app sends: odd characters in the path or query, an odd field, a body where none belongs; compare with "
        "curl -sv {origin}/",
    ),
)

_NO_LENGTH: Final = (
    Rule(
        "length_required",
        _always,
        "Google's front end wants to know the length of a POST, PUT or PATCH before it lets it through to {host}",
        "Have the app send Content-Length (0 where there is no body), or Transfer-Encoding: chunked",
    ),
)

_TOO_LARGE: Final = (
    Rule(
        "request_too_large",
        _always,
        "the request is larger than Google's front end lets through to {host}: {limit}",
        "Upload to Cloud Storage by a signed URL (gcloud storage sign-url gs://BUCKET/OBJECT --http-verb=PUT), or in parts; "
        "HTTP/2 from end to end has no such limit, where all on the way speak it: gcloud run services update {at} --use-http2{in_project}",
    ),
)

_TOO_LONG: Final = (
    Rule(
        "head_too_large",
        _always,
        "the request's URL or its header fields are larger than Google's front end lets through to {host}",
        "Send it in the body, by POST; and see how large the app's cookies have become",
    ),
)

_NOT_FOUND: Final = (
    Rule(
        "reserved_path",
        lambda case: case.keeps_path and not case.is_function,
        "Google's front end keeps {path} for itself, and the app behind {host} never sees it: so with /eventlog, /_ah/ and "
        "paths that end in z, such as /healthz",
        "Have the app answer at another path too, such as /health, and ask that one",
    ),
    Rule(
        "no_such_service",
        _always,
        "nothing answers to {host} here: no such service is there, or its run.app URL is turned off, or its ingress setting "
        "keeps out callers from outside its network",
        "See what is there, and its ingress setting: {describe}",
    ),
)

_TOO_MANY: Final = (
    Rule(
        "no_instance",
        _always,
        "{what} has no instance free for the request",
        "Allow more of them: gcloud run services update {at} --max-instances=N{in_project}",
    ),
)

_UNAVAILABLE: Final = (
    Rule(
        "no_instance",
        lambda case: "no available instance" in case.said,
        "{what} has no instance free for the request, as while it scales",
        "It passes; keep some ready, or allow more: gcloud run services update {at} --min-instances=1 --max-instances=N{in_project}",
    ),
    Rule(
        "receiver_down",
        _always,
        "{what} did not come up, or broke off at the request (status {status})",
        "See what it says: {logs}",
    ),
)

_TOO_SLOW: Final = (
    Rule(
        "receiver_timeout",
        _always,
        "{what} did not answer within the request timeout of its own settings (5 minutes, where nobody has set another)",
        "See what takes so long: {logs}; or allow more: gcloud run services update {at} --timeout=SECONDS{in_project} (3600 at most)",
    ),
)

_OF_FRONT_END: Final = {
    400: _BAD_REQUEST,
    401: _UNAUTHORIZED,
    403: _FORBIDDEN,
    404: _NOT_FOUND,
    408: _BAD_REQUEST,
    411: _NO_LENGTH,
    413: _TOO_LARGE,
    414: _TOO_LONG,
    429: _TOO_MANY,
    431: _TOO_LONG,
    504: _TOO_SLOW,
}


def rule_for(case: Evidence, speaker: Speaker) -> Rule:
    return next(rule for rule in _table(case, speaker) if rule.applies(case))


def _table(case: Evidence, speaker: Speaker) -> tuple[Rule, ...]:
    """Its last rule applies to all."""
    if speaker is Speaker.IAP:
        return _OF_IAP
    if case.is_api:
        return _OF_API
    return _REDIRECT if case.status < 400 else _OF_FRONT_END.get(case.status, _UNAVAILABLE)
