"""Why a receiver refuses, and the command that mends it.

What there is to go by (evidence.py): the route, the token's claims, the answer's head and, where somebody read it, its
body. Google's own reason goes first (reasons.py); what it does not settle, the tables do (rules.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from idtoken_proxy.identity.answer import Answer, Speaker
from idtoken_proxy.identity.evidence import Evidence, clock_words
from idtoken_proxy.identity.reasons import GCLOUD_PROJECTS, Why, project_of, why
from idtoken_proxy.identity.rules import SET_CLOCK, rule_for
from idtoken_proxy.identity.token import Token
from idtoken_proxy.settings.audience import takes_access_tokens
from idtoken_proxy.settings.model import CLOUD_PLATFORM, Route

# With which an API answers for what its caller is, and not for what it asks.
_OF_CREDENTIALS: Final = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`cause`: a slug; `detail`: what is wrong; `remedy`: what mends it, commands with the user's own names in them.
    `sure`: it was Google that answered, and not perhaps the app.
    """

    cause: str
    detail: str
    remedy: str
    sure: bool = True


def diagnose(
    route: Route, token: Token | None, answer: Answer, now: float, path: str = ""
) -> Diagnosis | None:
    """None: the answer is the app's own. `token`: what was sent; `now`: this machine's clock, Unix seconds, when the
    answer came; `path`: the request's, as it went to the receiver. Where nobody can tell who answered, the detail begins
    with "if".
    """
    speaker = answer.speaker
    of_credentials = answer.status in _OF_CREDENTIALS and route.scopes is not None
    # Most answers of 400 and up are the app's own, and end here.
    if speaker is Speaker.APP and not of_credentials and not _is_in_googles_form(answer):
        return None
    case = Evidence(route, token, answer, now, path)
    found = _reason(case)
    if case.is_api and found is None and answer.status not in _OF_CREDENTIALS:
        return None  # what an API says of the request itself is for the app
    if route.scopes is not None and takes_access_tokens(route.upstream.host):
        speaker = Speaker.FRONT_END  # there is no app behind
    if speaker is Speaker.APP:
        if case.is_api:
            speaker = Speaker.FRONT_END
        elif found is not None and (case.error.reason or case.error.identifier):
            # Of what stands before the receiver (API Gateway, a perimeter); or of an app that passes an API's refusal on.
            speaker = Speaker.PERHAPS
        else:
            return None
    if found is None:
        words = case.words
        rule = rule_for(case, speaker)
        found = Why(rule.cause, rule.detail.format_map(words), rule.remedy.format_map(words))
    sure = speaker is not Speaker.PERHAPS
    doubt = "" if sure else f"if it is Google that answers {answer.status} here, and not the app: "
    return Diagnosis(found.cause, doubt + found.detail, found.remedy, sure)


def wrong_clock(ahead: float, whose: str = "the receiver's") -> Diagnosis:
    """Of seconds that this machine's clock is ahead of another, where nothing has been refused for it yet."""
    detail = f"{clock_words(ahead, whose)}: tokens are not valid there when they are here"
    return Diagnosis("clock_skew", detail, SET_CLOCK)


def _is_in_googles_form(answer: Answer) -> bool:
    body = answer.body
    return answer.status >= 400 and body is not None and ('"error"' in body or "<Code>" in body)


def _reason(case: Evidence) -> Why | None:
    """Google's own, where it is a reason for a 403, or an API's for whatever it refuses."""
    if case.status != 403 and not case.is_api:
        return None
    words, error = case.words, case.error
    member = words["member"]
    if case.is_api and error.service is None:
        error = replace(error, metadata={**error.metadata, "service": case.upstream.host})
    found = why(
        error,
        caller=words["caller"],
        member=None if member.endswith(":EMAIL") else member,
        project=project_of(words["email"]),
    )
    if found is None or case.scopes is None:
        return found
    if found.cause == "iam_scopes":
        return Why(
            "token_scopes",
            f"the access token of {words['caller']} is good for {case.scopes}, and {words['host']} wants more for this",
            f"In route {case.route.name}: scopes: [{CLOUD_PLATFORM}], or those that the API's reference names; a VM's are its "
            "own: gcloud compute instances set-service-account INSTANCE --scopes=cloud-platform; and a login's: gcloud auth "
            f"application-default login --scopes=openid,{CLOUD_PLATFORM}",
        )
    if found.cause == "quota_project" or error.project in GCLOUD_PROJECTS:
        return replace(found, remedy=f"{found.remedy}; or in route {case.route.name}: quota_project: PROJECT")
    return found
