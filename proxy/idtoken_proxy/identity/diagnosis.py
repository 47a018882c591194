"""Why a receiver refuses, and the command that mends it.

What there is to go by (evidence.py): the route, the token's claims, the answer's head and, where somebody read it, its
body. Google's own reason goes first (reasons.py); what it does not settle, the tables do (rules.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from idtoken_proxy.identity.answer import Answer, Speaker
from idtoken_proxy.identity.evidence import Evidence, clock_words
from idtoken_proxy.identity.reasons import Why, project_of, why
from idtoken_proxy.identity.rules import SET_CLOCK, rule_for
from idtoken_proxy.identity.token import IdToken
from idtoken_proxy.settings.model import Route


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
    route: Route, token: IdToken | None, answer: Answer, now: float, path: str = ""
) -> Diagnosis | None:
    """None: the answer is the app's own. `token`: what was sent; `now`: this machine's clock, Unix seconds, when the
    answer came; `path`: the request's, as it went to the receiver. Where nobody can tell who answered, the detail begins
    with "if".
    """
    speaker = answer.speaker
    # Most answers of 400 and up are the app's own, and end here.
    if speaker is Speaker.APP and not _is_in_googles_form(answer):
        return None
    case = Evidence(route, token, answer, now, path)
    found = _reason(case)
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
    words = case.words
    member = words["member"]
    return why(
        case.error,
        caller=words["caller"],
        member=None if member.endswith(":EMAIL") else member,
        project=project_of(words["email"]),
    )
