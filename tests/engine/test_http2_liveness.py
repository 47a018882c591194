"""When a silent receiver is asked whether it is there, and when it is taken for gone; to the second."""

from __future__ import annotations

import math

from idtoken_proxy.engine.http2_liveness import ANSWERED, RARELY, SILENT, Liveness, Verdict

STEP = 0.5  # seconds between two looks, unless it says otherwise


class Receiver:
    """A connection, its time and what was asked on it. `answers`: every PING, at once. `punished`: as a server of gRPC
    counts strikes (https://github.com/grpc/proposal/blob/master/A8-client-side-keepalive.md).
    """

    def __init__(self, *, answers: bool = True) -> None:
        self.now = 0.0
        self.answers = answers
        self.life = Liveness(0.0)
        self.asked: list[float] = []
        self.gone = math.inf
        self._strikes = 0
        self._last = -math.inf

    @property
    def punished(self) -> bool:
        return self._strikes > 2

    def says(self, *, data: bool = True) -> None:
        self.life.heard, self.life.silent = self.now, False
        if data:
            self.life.spoke = True
            self._strikes, self._last = 0, -math.inf

    def look(self) -> None:
        match self.life.look(self.now):
            case Verdict.ASK:
                self.asked.append(self.now)
                self._strikes += self.now < self._last + 300
                self._last = self.now
                if self.answers:
                    self.says(data=False)
            case Verdict.GONE:
                self.gone = min(self.gone, self.now)

    def pass_(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end and self.gone == math.inf:
            self.now += STEP
            assert self.life.next_look(self.now - STEP) > self.now - STEP or self.life.gone
            self.look()


def test_who_speaks_is_not_asked() -> None:
    receiver = Receiver()
    for _ in range(100):
        receiver.pass_(SILENT - STEP)
        receiver.says(data=False)  # whatever it is
    assert receiver.asked == []


def test_who_is_silent_is_asked_to_the_second_and_gone_to_the_second() -> None:
    receiver = Receiver(answers=False)
    receiver.pass_(200)
    assert receiver.asked == [SILENT]
    assert receiver.gone == SILENT + ANSWERED


def test_an_answer_a_moment_before_the_end_is_one() -> None:
    receiver = Receiver(answers=False)
    receiver.pass_(SILENT + ANSWERED - STEP)
    receiver.says(data=False)
    receiver.pass_(STEP)
    assert receiver.gone == math.inf


def test_a_stream_without_a_word_is_asked_about_once_soon_and_then_rarely() -> None:
    receiver = Receiver()
    receiver.pass_(3600)
    assert receiver.asked[:2] == [SILENT, 2 * SILENT]
    assert {
        later - former for former, later in zip(receiver.asked[1:], receiver.asked[2:], strict=False)
    } == {RARELY}
    assert not receiver.punished


def test_no_server_of_grpc_s_takes_offence() -> None:
    """Whatever the receiver says, and when: here something other than DATA after each of many intervals."""
    for interval in (1, 7, 29.5, 31, 45, 61, 100, 299, 301, 311, 700):
        receiver = Receiver()
        for _ in range(int(7200 / interval)):
            receiver.pass_(interval)
            assert not receiver.punished, interval
            receiver.says(data=False)


def test_data_that_comes_now_and_then_has_each_silence_asked_about() -> None:
    receiver = Receiver()
    for _ in range(20):
        receiver.pass_(40)
        receiver.says()
    assert len(receiver.asked) == 20
    assert not receiver.punished


def test_who_spoke_and_vanished_is_found_out_soon_though_a_ping_was_not_due() -> None:
    receiver = Receiver()
    receiver.pass_(100)  # asked twice: the next would be due in five minutes
    receiver.says()
    receiver.answers = False
    at = receiver.now
    receiver.pass_(600)
    assert receiver.gone <= at + 2 * SILENT + ANSWERED


def test_a_stream_on_what_was_idle_for_long_is_asked_about_with_its_head() -> None:
    receiver = Receiver(answers=False)
    receiver.now = 70.0
    receiver.look()
    assert receiver.asked == [70.0]
    assert receiver.life.next_look(70.0) == 70.0 + ANSWERED
    recent = Receiver(answers=False)
    recent.now = SILENT - 1
    recent.look()
    assert recent.asked == []
