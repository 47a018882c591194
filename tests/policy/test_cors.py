"""What browsers are told of the listed origins, line by line (https://fetch.spec.whatwg.org/#http-cors-protocol)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.policy import cors
from idtoken_proxy.policy.request import Request
from tests.cases import for_each

ORIGIN = "https://app.example.com"
NAMED = [
    ("Access-Control-Allow-Origin", ORIGIN),
    ("Access-Control-Allow-Credentials", "true"),
    ("Vary", "Origin"),
]
METHODS = ("GET", "POST")


def request(*lines: str, method: str = "OPTIONS", origin: str = ORIGIN) -> Request:
    made = Request()
    made.method = method.encode()
    made.origin = origin.encode()
    made.passing = [f"{line}\r\n".encode("latin-1") for line in lines]
    made.listed = True
    return made


def lines_of(octets: bytes) -> list[tuple[str, str]]:
    text = octets.decode("latin-1")
    assert text.endswith("\r\n")
    assert text.count("\r") == text.count("\n") == text.count("\r\n")
    return [(name, value) for name, _, value in (line.partition(": ") for line in text[:-2].split("\r\n"))]


def preflight(*lines: str, any_method: bool = False) -> list[tuple[str, str]]:
    return lines_of(cors.preflight_lines(request(*lines), METHODS, any_method=any_method))


# -- preflights ---------------------------------------------------------------


@for_each("line", ["Access-Control-Request-Method: PUT", "access-CONTROL-request-method:"])
def test_a_preflight_names_the_method_that_is_to_follow(line: str) -> None:
    assert cors.is_preflight(request("Accept: */*", line))
    for method in ("GET", "options", "POST"):
        assert not cors.is_preflight(request(line, method=method))


@for_each(
    "lines",
    [
        (),
        ("Access-Control-Request-Headers: a",),
        ("X-Access-Control-Request-Method: PUT",),
        ("Access-Control-Request-Methods: PUT",),
        ("X: Access-Control-Request-Method: PUT",),
    ],
)
def test_any_other_options_is_none(lines: tuple[str, ...]) -> None:
    assert not cors.is_preflight(request(*lines))


def test_the_least_preflight_to_the_octet() -> None:
    assert cors.preflight_lines(request("Access-Control-Request-Method: GET"), METHODS, any_method=False) == (
        b"Access-Control-Allow-Origin: https://app.example.com\r\nAccess-Control-Allow-Credentials: true\r\n"
        b"Vary: Origin\r\nAccess-Control-Allow-Methods: GET, POST\r\nAccess-Control-Max-Age: 600\r\n"
    )


@for_each(
    ("asked", "any_method", "expected"),
    [
        ("GET", False, "GET, POST"),
        ("PUT", False, "GET, POST"),  # and the browser refuses by itself
        ("GET", True, "GET, POST"),
        ("PROPFIND", True, "GET, POST, PROPFIND"),
        ("patch", True, "GET, POST, patch"),  # which the Fetch Standard leaves as it is
        ("*", True, "GET, POST"),
        ("CONNECT", True, "GET, POST"),
        ("Trace", True, "GET, POST"),
        ("", True, "GET, POST"),
        ("A B", True, "GET, POST"),
        ("A,B", True, "GET, POST"),
        ("A\xe9", True, "GET, POST"),
    ],
)
def test_the_methods_are_the_routes(asked: str, any_method: bool, expected: str) -> None:  # noqa: FBT001
    got = preflight(f"Access-Control-Request-Method: {asked}", any_method=any_method)
    assert got == [*NAMED, ("Access-Control-Allow-Methods", expected), ("Access-Control-Max-Age", "600")]


@for_each(
    ("asked", "expected"),
    [
        (("content-type",), "content-type"),
        (("authorization,x-a , X-B",), "authorization, x-a, X-B"),
        (("a", "b,c"), "a, b, c"),
        ((",, a ,",), "a"),
        (("*",), None),
        (("a,*,b",), "a, b"),
        (("",), None),
        (("a b", "c:d", 'e"', "f\xe9", "(g)", "h/i", "j"), "j"),
    ],
)
def test_the_headers_are_those_that_are_asked_for_and_could_be_some(
    asked: tuple[str, ...], expected: str | None
) -> None:
    got = preflight(*(f"access-control-request-headers: {line}" for line in asked))
    assert dict(got).get("Access-Control-Allow-Headers") == expected


@for_each(
    ("lines", "told"),
    [
        ((), False),
        (("Access-Control-Request-Private-Network: true",), True),
        (("Access-Control-Request-Private-Network: True",), False),
        (("Access-Control-Request-Private-Network: false",), False),
        (("Access-Control-Request-Private-Network: true",) * 2, False),
    ],
)
def test_a_page_of_the_internet_may_reach_this_machine(lines: tuple[str, ...], told: bool) -> None:  # noqa: FBT001
    got = preflight(*lines)
    assert (("Access-Control-Allow-Private-Network", "true") in got) == told


@given(
    st.lists(st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=30), max_size=4)
)
def test_whatever_is_asked_for_nothing_is_allowed_to_anybody(values: list[str]) -> None:
    names = ["Access-Control-Request-Method", "Access-Control-Request-Headers"]
    got = preflight(*(f"{names[at % 2]}: {value}" for at, value in enumerate(values)), any_method=True)
    assert got[:3] == NAMED
    for name, value in got[3:]:
        assert name in {
            "Access-Control-Allow-Methods",
            "Access-Control-Allow-Headers",
            "Access-Control-Max-Age",
        }
        for member in value.split(", "):
            assert member
            assert member != "*"
            assert member.isascii()
            assert not set(member) & set(' \t,:;"()/')


# -- answers ------------------------------------------------------------------


@for_each(
    ("passing", "exposed"),
    [
        ([], None),
        (["Content-Type: a", "cache-control: b", "Expires: 0", "Set-Cookie: a=b", "pragma: x"], None),
        (["ETag: a", "X-Total: 7", "x-total: 8", "content-type: b"], "ETag, X-Total"),
        (["Location: http://a:b/"], "Location"),
    ],
)
def test_a_page_may_read_all_that_is_there(passing: list[str], exposed: str | None) -> None:
    got = lines_of(cors.answer_lines(request(), [f"{line}\r\n".encode() for line in passing]))
    assert got == [*NAMED, *([] if exposed is None else [("Access-Control-Expose-Headers", exposed)])]


def test_the_origin_is_named_as_the_browser_spelled_it() -> None:
    upper = ORIGIN.upper()
    for got in (
        cors.answer_lines(request(origin=upper), []),
        cors.preflight_lines(request(origin=upper), METHODS, any_method=False),
    ):
        assert lines_of(got)[0] == ("Access-Control-Allow-Origin", upper)


def test_what_the_proxy_itself_answers_is_for_listed_pages_to_read_alone() -> None:
    assert lines_of(cors.problem_lines(request())) == [
        *NAMED,
        ("Access-Control-Expose-Headers", "Allow, Proxy-Status, Retry-After"),
    ]
    other = request()
    other.listed = False
    assert cors.problem_lines(other) == b""
    assert cors.problem_lines(None) == b""
