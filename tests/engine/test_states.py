"""The table itself: closed, reachable, and without a way back from an end."""

from __future__ import annotations

import pytest

from idtoken_proxy.engine import states
from idtoken_proxy.engine.states import FINAL, TRANSITIONS, UNANSWERED
from tests.cases import for_each


def reachable() -> set[str]:
    seen, ahead = set(), [states.WAITING]
    while ahead:
        state = ahead.pop()
        if state not in seen:
            seen.add(state)
            ahead.extend(TRANSITIONS[state].values())
    return seen


def test_every_state_is_reached_and_every_way_leads_to_a_state() -> None:
    assert reachable() == set(TRANSITIONS)


def test_an_end_has_no_way_out_and_everything_else_has_one_to_an_end() -> None:
    for state, ways in TRANSITIONS.items():
        assert (state in FINAL) == (not ways)
        if ways:
            assert ways[states.BREAK] == states.BROKEN


def test_the_proxy_answers_by_itself_only_before_a_final_answer_was_relayed() -> None:
    for state in UNANSWERED:
        assert states.ANSWER_END not in TRANSITIONS[state]
    assert {TRANSITIONS[state].get(states.ANSWER) for state in UNANSWERED} == {
        None,
        states.EARLY,
        states.RELAYING,
    }


def test_connections_are_used_again_only_where_both_messages_ended() -> None:
    into_done = [
        (state, event)
        for state, ways in TRANSITIONS.items()
        for event, to in ways.items()
        if to == states.DONE
    ]
    # Where the proxy answers by itself, the receiver was not asked.
    assert into_done == [(states.WAITING, states.OWN_ANSWER), (states.RELAYING, states.ANSWER_END)]


def test_only_what_was_wholly_sent_and_not_answered_becomes_a_tunnel() -> None:
    assert [state for state, ways in TRANSITIONS.items() if states.SWITCH in ways] == [states.SENT]


def test_only_what_was_not_answered_is_said_again() -> None:
    assert [state for state, ways in TRANSITIONS.items() if states.RETRY in ways] == [
        states.SENDING,
        states.SENT,
    ]


@for_each("state", sorted(FINAL))
def test_an_event_that_a_state_does_not_know_is_an_error(state: str) -> None:
    with pytest.raises(KeyError):
        TRANSITIONS[state][states.ANSWER]
