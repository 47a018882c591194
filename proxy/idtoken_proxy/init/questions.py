"""Three questions to a person, in place of a file: where the service is, its audience, whom to act as."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from idtoken_proxy.init.compose import service_of
from idtoken_proxy.init.receivers import Receiver
from idtoken_proxy.settings.audience import derived_audience
from idtoken_proxy.settings.model import Upstream
from idtoken_proxy.settings.names import audience as audience_of
from idtoken_proxy.settings.names import email
from idtoken_proxy.settings.plausible import objection, url_path_objection
from idtoken_proxy.settings.urls import upstream

T = TypeVar("T")
_TRIES: Final = 5


class GaveUp(Exception):
    """No answer that will do."""


def asked(ask: Callable[[str], str], tell: Callable[[str], None]) -> tuple[Receiver, str | None]:
    """(the receiver, the service account to act as). `ask`: one line for a question; EOFError where there is none. Raises
    GaveUp.
    """
    url = _until("1/3 The service's URL, such as https://SERVICE-HASH-REGION.a.run.app: ", _url, ask, tell)
    try:
        derived = derived_audience(url)
    except ValueError as error:
        tell(f"its audience {error}")
        derived = None
    told = f"Enter for {derived}" if derived is not None else "which it needs"
    audience = _until(f"2/3 Its audience, {told}: ", lambda text: _audience(text, derived), ask, tell)
    account = _until(
        "3/3 A service account to act as, Enter for your own identity: ",
        lambda text: email(text) if text else None,
        ask,
        tell,
    )
    host = url.host
    name = service_of(host) if host.endswith(".run.app") else "service"
    return Receiver(name, f"receiver {host}", str(url), audience), account


def _until(
    question: str, parse: Callable[[str], T], ask: Callable[[str], str], tell: Callable[[str], None]
) -> T:
    for _ in range(_TRIES):
        try:
            return parse(ask(question).strip())
        except ValueError as error:
            tell(f"That {error}")
        except EOFError:
            break
    raise GaveUp


def _url(text: str) -> Upstream:
    refused = objection(text)
    if refused is not None:
        raise ValueError(refused)
    return upstream(text)


def _audience(text: str, derived: str | None) -> str:
    if not text and derived is not None:
        return derived
    refused = url_path_objection(text)
    if refused is not None:
        raise ValueError(refused)
    return audience_of(text)
