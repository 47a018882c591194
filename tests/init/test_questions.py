"""Three questions, and what becomes of answers that will not do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from idtoken_proxy.init.questions import GaveUp, asked


def answering(*answers: str) -> tuple[Callable[[str], str], list[str]]:
    left, heard = list(answers), []

    def ask(question: str) -> str:
        heard.append(question)
        if not left:
            raise EOFError
        return left.pop(0)

    return ask, heard


def test_a_url_is_enough() -> None:
    ask, heard = answering("https://orders-x7f3kq-uc.a.run.app\n", "\n", "\n")
    receiver, account = asked(ask, pytest.fail)
    assert (receiver.name, receiver.audience, account) == (
        "orders",
        "https://orders-x7f3kq-uc.a.run.app",
        None,
    )
    assert len(heard) == 3
    assert "Enter for https://orders-x7f3kq-uc.a.run.app" in heard[1]


def test_what_is_mistaken_is_asked_again() -> None:
    told: list[str] = []
    ask, heard = answering(
        "orders", "https://api.example.com/v1", "", "https://o.run.app", "me", "me@p.iam.gserviceaccount.com"
    )
    receiver, account = asked(ask, told.append)
    assert (receiver.name, receiver.url, receiver.audience) == (
        "service",
        "https://api.example.com/v1",
        "https://o.run.app",
    )
    assert account == "me@p.iam.gserviceaccount.com"
    assert len(heard) == 6
    assert "begins with https://" in told[0]


def test_no_answer_ends_it() -> None:
    with pytest.raises(GaveUp):
        asked(answering()[0], pytest.fail)
    with pytest.raises(GaveUp):
        asked(answering(*["x"] * 9)[0], lambda _: None)
