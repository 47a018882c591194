from __future__ import annotations

import pytest

from idtoken_proxy.settings.environment import overrides, substitute
from tests.cases import for_each

ENVIRON = {"HOST": "a.run.app", "EMPTY": "", "TRICKY": "${HOST} \\1 $$"}


@for_each(
    ("written", "read"),
    [
        ("plain $HOST {HOST} $", "plain $HOST {HOST} $"),
        ("https://${HOST}/x", "https://a.run.app/x"),
        ("${HOST}${HOST}", "a.run.appa.run.app"),
        ("${EMPTY}", ""),
        ("${EMPTY:-b}", "b"),
        ("${UNSET:-b}", "b"),
        ("${UNSET:-}", ""),
        ("${UNSET:-a b:-c}", "a b:-c"),
        ("${HOST:-b}", "a.run.app"),
        ("$${HOST}", "${HOST}"),
        ("$$${HOST}", "$${HOST}"),
        ("${TRICKY}", "${HOST} \\1 $$"),
    ],
)
def test_variables_in_strings(written: str, read: str) -> None:
    assert substitute(written, ENVIRON) == read


MALFORMED = "${ begins no variable; write ${NAME} or ${NAME:-default}, and $${ for a literal ${"


@for_each(
    ("written", "message"),
    [
        ("${A}", "environment variable A is not set; set it, or write ${A:-default}"),
        ("${A} ${A}", "environment variable A is not set; set it, or write ${A:-default}"),
        ("${A} ${B}", "environment variables A, B are not set; set it, or write ${A:-default}"),
        ("${A", MALFORMED),
        ("${}", MALFORMED),
        ("${1A}", MALFORMED),
        ("${A-b}", MALFORMED),
        ("${A:-${B}}", MALFORMED),
    ],
)
def test_mistakes_in_variables(written: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is asserted
        substitute(written, ENVIRON)
    assert str(caught.value) == message


def test_variables_that_override_keys() -> None:
    environ = {
        "IDTOKEN_PROXY_LISTEN": "localhost:1",
        "IDTOKEN_PROXY_ADMIN": "off",
        "IDTOKEN_PROXY_LOG_LEVEL": "debug",
        "IDTOKEN_PROXY_LOG_FORMAT": "",
        "IDTOKEN_PROXY_OTHER": "x",
    }
    assert list(overrides(environ)) == [
        ("IDTOKEN_PROXY_LISTEN", ("listen",), "localhost:1"),
        ("IDTOKEN_PROXY_ADMIN", ("admin",), "off"),
        ("IDTOKEN_PROXY_LOG_LEVEL", ("log", "level"), "debug"),
    ]


def test_several_listeners_are_divided_by_commas() -> None:
    environ = {"IDTOKEN_PROXY_LISTEN": "localhost:1, [::1]:2"}
    assert list(overrides(environ)) == [("IDTOKEN_PROXY_LISTEN", ("listen",), ["localhost:1", "[::1]:2"])]
