"""What is logged, and above all what never is."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from typing import Any, Literal

import pytest
import structlog
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.logs import ACCESS, MASKED, configure, get_logger, mask
from idtoken_proxy.settings.model import LogSettings
from tests.cases import for_each

JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJhdWQiOiJhIiwiZXhwIjoxfQ.c2lnbmF0dXJlX3dpdGgtZGFzaA"
SECRETS = {
    "a JWT": JWT,
    "a JWT without its signature": JWT.rpartition(".")[0],
    "a JWT's head": JWT.partition(".")[0],
    "a bearer credential": "Bearer abc123",
    "an access token": "ya29.a0AfB_by-C1",
    "a refresh token": "1//0gAbCdEfGhIjKlMn",
    "a private key": "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADAN\n-----END PRIVATE KEY-----",
    "half a private key": "-----BEGIN RSA PRIVATE KEY-----\nMIIEvQIBADAN\nMII",
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def logs(
    form: Literal["auto", "text", "json"] = "json",
    level: Literal["debug", "info", "warning", "error"] = "debug",
    stream: io.StringIO | None = None,
) -> io.StringIO:
    out = io.StringIO() if stream is None else stream
    logging.getLogger().handlers.clear()  # pytest's own refuse a record whose arguments do not fit
    configure(LogSettings(form, level), out)
    return out


def told(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


class Holder:
    def __repr__(self) -> str:
        return f"Holder({JWT})"


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError(JWT)


# -- shapes -------------------------------------------------------------------


def test_json_is_one_object_a_line_as_cloud_logging_reads_it() -> None:
    out = logs()
    get_logger("proxy.x").warning("two\nlines", route="a", tries=2, nothing=None)
    (line,) = told(out)
    assert line.pop("time").endswith("Z")
    assert line == {
        "severity": "WARNING",
        "message": "two\nlines",
        "logger": "proxy.x",
        "route": "a",
        "tries": 2,
        "nothing": None,
    }


def test_time_is_rfc_3339_in_utc() -> None:
    out = logs()
    get_logger("x").info("now")
    date, _, time = told(out)[0]["time"].partition("T")
    assert len(date) == len("2026-01-31")
    assert len(time) == len("12:00:00.000Z")


def test_text_on_a_terminal_is_coloured_and_elsewhere_plain() -> None:
    terminal = logs("auto", stream=Terminal())
    get_logger("x").info("hello", key="value")
    assert "\x1b[" in terminal.getvalue()
    plain = logs("text")
    get_logger("x").info("hello", key="value")
    assert "\x1b[" not in plain.getvalue()
    assert "hello" in plain.getvalue()
    assert "key=value" in plain.getvalue()


def test_on_a_terminal_a_remedy_is_a_line_to_copy_and_elsewhere_a_value() -> None:
    remedy = "gcloud auth application-default login; or: x \x1b[2J\n y"
    terminal = logs("auto", stream=Terminal())
    get_logger("x").warning("token fetch failed", remedy=remedy, cause="login_expired")
    first, second = terminal.getvalue().splitlines()
    assert "login_expired" in first
    assert second.startswith("    gcloud auth application-default login; or: x ")
    assert "\x1b[2J" not in second
    plain = logs("text")
    get_logger("x").warning("token fetch failed", remedy=remedy)
    assert len(plain.getvalue().splitlines()) == 1


def test_auto_is_json_where_nobody_reads_along() -> None:
    out = logs("auto")
    get_logger("x").info("hello")
    assert told(out)[0]["message"] == "hello"


def test_standard_error_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings("json"))
    get_logger("x").info("hello")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err)["message"] == "hello"


def test_a_traceback_is_text_in_both_shapes() -> None:
    for form in ("json", "text"):
        out = logs(form)
        try:
            raise ValueError("broken")  # noqa: TRY301 - for its traceback
        except ValueError:
            get_logger("x").exception("failed")
        assert "Traceback (most recent call last)" in out.getvalue()
        assert "ValueError: broken" in out.getvalue()


def test_values_that_json_does_not_know_are_described() -> None:
    out = logs()
    get_logger("x").info("odd", kind=Literal, broken=Broken(), nested={("a", 1): 2, "b": (1, 2)})
    (line,) = told(out)
    assert line["broken"] == "<Broken>"
    assert line["nested"] == {"b": [1, 2]}


@for_each("value", ["a\nlevel=error forged", "\x1b[2J", "a\rb", "\u2028", "\x9b31m"])
def test_in_text_no_value_writes_a_line_or_an_escape_of_its_own(value: str) -> None:
    out = logs("text")
    get_logger("x").info(value, path=value)
    assert len(out.getvalue().splitlines()) == 1
    assert all(char.isprintable() for char in out.getvalue().rstrip("\n"))


# -- levels -------------------------------------------------------------------


@for_each(
    ("level", "said"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_the_level_is_the_least_that_is_said(level: Any, said: list[str]) -> None:
    out = logs(level=level)
    log = get_logger("x")
    for method in ("debug", "info", "warning", "error"):
        getattr(log, method)(method)
    assert [line["message"] for line in told(out)] == said


@for_each(
    ("level", "said"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_libraries_are_heard_from_warning_up_or_from_debug_at_debug(level: Any, said: list[str]) -> None:
    out = logs(level=level)
    log = logging.getLogger("urllib3.connectionpool")
    for method in ("debug", "info", "warning", "error"):
        getattr(log, method)("%s", method)
    assert [line["message"] for line in told(out)] == said
    assert {line["logger"] for line in told(out)} == {"urllib3.connectionpool"}


def test_a_log_beside_the_configuration_does_not_feed_itself() -> None:
    out = logs(level="debug")
    log = logging.getLogger("watchfiles.main")
    log.debug("%d changes detected: %s", 1, "proxy.log")
    assert told(out) == []
    log.warning("gone")
    assert [line["message"] for line in told(out)] == ["gone"]


# -- nothing secret -----------------------------------------------------------


@for_each("secret", SECRETS.values(), ids=SECRETS.keys())
@for_each("form", ["json", "text"])
def test_a_secret_is_masked_wherever_it_stands(form: Any, secret: str) -> None:
    out = logs(form)
    log = get_logger("x")
    log.info(
        "got %s", secret, token=secret, nested={"a": [{"b": secret}], secret: 1}, many=(secret, {secret})
    )
    try:
        raise ValueError(f"refused {secret}") from KeyError(secret)  # noqa: TRY301 - for its traceback
    except ValueError as error:
        log.exception("failed", error=error)
        logging.getLogger("google.auth").exception("failed %s", secret)
    logging.getLogger("google.auth").warning("%(a)s", {"a": secret})
    # Whose arguments do not fit; by our handler alone, as the test runner's own would raise.
    record = logging.LogRecord("google.auth", logging.WARNING, __file__, 1, "%d", (secret,), None)
    (ours,) = [one for one in logging.getLogger().handlers if type(one).__module__ == "idtoken_proxy.logs"]
    ours.handle(record)
    log.info("held", holder=Holder(), list=[Holder()])
    written = out.getvalue()
    assert MASKED in written
    for part in secret.replace("Bearer ", "").replace("\n", "-----").split("-----"):
        assert not part or "PRIVATE" in part or part not in written
    assert JWT not in written


@given(st.text(), st.sampled_from([JWT, f"Bearer {JWT}", *SECRETS.values()]), st.text())
def test_no_surroundings_save_a_secret(before: str, secret: str, after: str) -> None:
    masked = mask(f"{before} {secret} {after}")
    assert MASKED in masked
    for part in re.findall(r"[A-Za-z0-9_-]{12,}", secret):
        assert part not in masked or part in before + after


@given(st.dictionaries(st.text(min_size=1).filter(lambda key: key not in {"event", "exc_info"}), st.text()))
def test_whatever_is_logged_is_one_line_of_json(values: dict[str, str]) -> None:
    out = io.StringIO()
    configure(LogSettings("json"), out)
    get_logger("x").bind(**values).info("said")
    assert out.getvalue().count("\n") == 1
    assert json.loads(out.getvalue())["message"] == "said" or "message" in values


NASTY = st.one_of(
    st.text(),
    st.builds(
        "{}{}{}".format, st.text(max_size=3), st.sampled_from(list(SECRETS.values())), st.text(max_size=3)
    ),
    st.sampled_from(
        ["-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", 'bearer "', "\\", "\u2028", "\ud800"]
    ),
)
ANYTHING = st.recursive(
    st.one_of(NASTY, st.none(), st.booleans(), st.integers(), st.floats(), st.binary()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(NASTY, st.integers(), st.none(), st.tuples(NASTY)), inner, max_size=4),
    ),
    max_leaves=8,
)


def strictly(line: str) -> Any:
    """Python's own reader takes NaN; Cloud Logging's does not."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(line, parse_constant=refuse)


@given(ANYTHING, NASTY)
def test_whatever_is_in_a_value_it_is_one_line_of_json(value: object, said: str) -> None:
    out = io.StringIO()
    configure(LogSettings("json"), out)
    try:
        raise ValueError(said)  # noqa: TRY301 - for its traceback
    except ValueError:
        get_logger("x").exception(said, value=value, last="still here")
    (line,) = out.getvalue().splitlines()
    assert strictly(line)["last"] == "still here"
    assert "MIIEvQIBADAN" not in line
    assert JWT not in line


def test_a_caller_who_names_half_a_key_spoils_no_line() -> None:
    reason = 'a page of origin "-----BEGIN PRIVATE KEY-----"'
    line = access_line(**REQUEST, reason=reason, kind="forbidden")
    assert strictly(line)["reason"] == f'a page of origin "{MASKED}'
    assert strictly(line)["kind"] == "forbidden"


def test_what_is_no_secret_alone_but_is_beside_another_value() -> None:
    fields = {**REQUEST, "method": "BEARER", "path": "abcdef"}
    assert strictly(access_line(**fields))["message"] == f"BEARER {MASKED} 200"
    assert "abcdef" not in access_line(form="text", **fields)


@for_each("form", ["json", "text"])
def test_a_key_in_its_lines_is_a_key(form: Any) -> None:
    out = logs(form)
    get_logger("x").info("got", lines=SECRETS["a private key"].splitlines(), last="still here")
    assert "MIIEvQIBADAN" not in out.getvalue()
    assert "still here" in out.getvalue()


@for_each("form", ["json", "text"])
@for_each("space", ["\n", "\r", "\t", "\x0b", "\x85", "\u2028"])
def test_no_control_character_hides_a_secret(form: Any, space: str) -> None:
    out = logs(form)
    for secret in (f"bearer{space}s3cr3ts3cr3t", f"{space}ya29.s3cr3ts3cr3t", f"{space}1//s3cr3ts3cr3t"):
        get_logger("x").info(secret, nested=[{secret: secret}])
    get_logger("x").info("described", many={"\nya29.s3cr3ts3cr3t"})
    assert "s3cr3t" not in out.getvalue()


def test_a_circle_is_a_line_too() -> None:
    out = logs()
    circle: list[Any] = [JWT]
    circle.append(circle)
    get_logger("x").info("round", circle=circle)
    assert told(out)[0]["message"] == "round"
    assert JWT not in out.getvalue()


@for_each("method", ["debug", "info", "warning", "error", "critical"])
def test_severities_are_cloud_loggings(method: str) -> None:
    out = logs()
    getattr(get_logger("x"), method)("said")
    assert told(out)[0]["severity"] == method.upper()


def test_masking_leaves_everything_else() -> None:
    said = "GET /a?audience=https%3A%2F%2Fa.run.app HTTP/1.1, keyJ and the bearer of news, 1//2"
    assert mask(said) == said.replace("bearer of", f"bearer {MASKED}")


def test_the_word_bearer_stays_to_tell_what_was_there() -> None:
    assert mask("authorization: bearer  abc, x") == f"authorization: bearer  {MASKED}, x"


@for_each(("level", "severities"), [("info", []), ("debug", ["DEBUG"])])
def test_a_request_that_aiohttp_cannot_read_is_not_quoted(level: Any, severities: list[str]) -> None:
    out = logs(level=level)
    for error in (BadHttpMessage("b'X-Secret-Key: hunter2'"), LineTooLong("hunter2")):
        logging.getLogger("aiohttp.server").error("Error handling request from %s", "::1", exc_info=error)
    assert [line["severity"] for line in told(out)] == severities * 2
    assert "hunter2" not in out.getvalue()


def test_what_goes_wrong_in_our_own_handlers_is_an_error_with_its_traceback() -> None:
    out = logs(level="info")
    logging.getLogger("aiohttp.server").error("Error handling request", exc_info=ValueError("ours"))
    logging.getLogger("aiohttp.server").error("Unhandled")
    first, second = told(out)
    assert (first["severity"], second["severity"]) == ("ERROR", "ERROR")
    assert "ValueError: ours" in first["stack_trace"]


# -- robust -------------------------------------------------------------------


def test_a_closed_stream_ends_nothing() -> None:
    out = logs()
    out.close()
    get_logger("x").info("to nobody")
    logging.getLogger("y").warning("to nobody")


def test_configuring_again_replaces_what_was() -> None:
    log = get_logger("x")
    first, second = logs(), io.StringIO()
    configure(LogSettings("json"), second)
    log.info("hello")
    logging.getLogger("y").warning("hello")
    assert first.getvalue() == ""
    assert len(told(second)) == 2


def test_a_logger_without_a_name_is_the_proxys() -> None:
    out = logs()
    structlog.get_logger().info("hello")
    assert told(out)[0]["logger"] == "idtoken_proxy"


def test_a_level_of_a_librarys_own_is_written_too() -> None:
    out = logs()
    logging.getLogger("y").log(25, "notice")
    assert told(out)[0]["message"] == "notice"


def test_it_is_imported_without_reading_the_environment_or_configuring() -> None:
    assert "idtoken_proxy.logs" in sys.modules
    assert not structlog.is_configured()


# -- the access log, as Cloud Logging reads it ---------------------------------

TRACE = "0af7651916cd43dd8448eb211c80319c"
REQUEST: dict[str, Any] = {
    "status": 200,
    "route": "users",
    "method": "GET",
    "path": "/a",
    "ms": 5.2,
    "received": 90,
    "sent": 1200,
    "protocol": "HTTP/1.1",
}


def access_line(project: str | None = "", form: Literal["text", "json"] = "json", **fields: Any) -> str:
    out = io.StringIO()
    configure(LogSettings(form), out, project=project)
    get_logger(ACCESS).info("request", **fields)
    return out.getvalue()


def test_an_exchange_is_an_http_request() -> None:
    line = json.loads(access_line(**REQUEST, remote="10.0.0.7"))
    del line["time"]
    assert line == {
        "severity": "INFO",
        "message": "GET /a 200",
        "logger": "idtoken_proxy.access",
        "route": "users",
        "httpRequest": {
            "requestMethod": "GET",
            "requestUrl": "/a",
            "status": 200,
            "latency": "0.0052s",
            "protocol": "HTTP/1.1",
            "requestSize": 90,
            "responseSize": 1200,
            "remoteIp": "10.0.0.7",
        },
    }


def test_a_trace_belongs_to_a_project_or_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {**REQUEST, "trace": TRACE, "span": "b7ad6b7169203331", "sampled": True}
    named = json.loads(access_line("proj", **fields))
    assert named["logging.googleapis.com/trace"] == f"projects/proj/traces/{TRACE}"
    assert named["logging.googleapis.com/spanId"] == "b7ad6b7169203331"
    assert named["logging.googleapis.com/trace_sampled"] is True
    assert not {"trace", "span", "sampled", "trace_id"} & named.keys()
    bare = json.loads(access_line("", **{k: v for k, v in fields.items() if k != "span"}))
    assert bare["trace_id"] == TRACE
    assert not {"logging.googleapis.com/trace", "logging.googleapis.com/spanId"} & bare.keys()
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "of-the-environment")
    found = json.loads(access_line(None, **fields))
    assert found["logging.googleapis.com/trace"] == f"projects/of-the-environment/traces/{TRACE}"


def test_what_could_not_be_read_and_what_had_no_answer() -> None:
    line = json.loads(access_line(status=400, ms=0.1, received=0, sent=300))
    assert line["message"] == "unreadable request 400"
    assert line["httpRequest"] == {"status": 400, "latency": "0.0001s", "responseSize": 300}
    gone = json.loads(access_line(**{**REQUEST, "status": 0, "sent": 0}))
    assert gone["message"] == "GET /a unanswered"
    assert not {"status", "responseSize"} & gone["httpRequest"].keys()


def test_a_terminals_line_is_short() -> None:
    line = access_line(form="text", **REQUEST, reason="it went wrong")
    assert "GET /a 200 in 5.2 ms" in line
    assert "route=users" in line
    assert "reason='it went wrong'" in line
    assert not any(f"{name}=" in line for name in ("method", "path", "status", "ms", "sent", "received"))


def test_a_traceback_goes_where_error_reporting_looks() -> None:
    out = logs()
    try:
        raise ValueError("broken")  # noqa: TRY301 - for its traceback
    except ValueError:
        get_logger("x").exception("failed")
    (line,) = told(out)
    assert line["message"] == "failed"
    assert line["stack_trace"].startswith("Traceback (most recent call last)")
    assert "exception" not in line


# -- the same again and again --------------------------------------------------


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def limited(clock: Clock) -> io.StringIO:
    out = io.StringIO()
    logging.getLogger().handlers.clear()
    configure(LogSettings("json", "debug"), out, clock=clock)
    return out


def test_a_repeated_warning_is_said_at_once_and_then_at_intervals() -> None:
    clock = Clock()
    out = limited(clock)
    log = get_logger("idtoken_proxy.engine")
    for _ in range(5):
        log.warning("refused", route="a")
    assert len(told(out)) == 1
    clock.now += 9.99
    log.warning("refused", route="a")
    assert len(told(out)) == 1
    clock.now += 0.01  # ten seconds to the dot
    log.warning("refused", route="a")
    assert told(out)[1]["suppressed"] == 5
    clock.now += 60
    log.warning("refused", route="a")
    assert "suppressed" not in told(out)[2]
    assert "suppressed" not in told(out)[0]


@for_each(
    ("logger", "other"),
    [
        ("idtoken_proxy.engine", {"route": "b"}),
        ("idtoken_proxy.engine", {"reason": "another"}),
        ("idtoken_proxy.identity", {"audience": "b"}),
        ("idtoken_proxy.identity", {"cause": "another"}),
        (ACCESS, {"status": 503}),
        (ACCESS, {"kind": "another"}),
        (ACCESS, {"route": "b"}),
    ],
)
def test_what_differs_is_not_repeated(logger: str, other: dict[str, Any]) -> None:
    out = limited(Clock())
    for fields in (REQUEST, {**REQUEST, **other}, {**REQUEST, **other}):
        get_logger(logger).warning("request", **fields)
    assert len(told(out)) == 2


def test_what_callers_choose_does_not_differ() -> None:
    out = limited(Clock())
    for number in range(9):
        get_logger(ACCESS).warning("request", **{**REQUEST, "path": f"/{number}"}, reason=f'host "{number}"')
    assert len(told(out)) == 1


def test_a_full_access_log_is_full() -> None:
    out = limited(Clock())
    for _ in range(3):
        get_logger(ACCESS).warning("request", **REQUEST, each=True)
    assert len(told(out)) == 3
    assert "each" not in told(out)[0]


@for_each("method", ["debug", "info"])
def test_only_warnings_are_held_back(method: str) -> None:
    out = limited(Clock())
    for _ in range(3):
        getattr(get_logger("x"), method)("said")
    assert len(told(out)) == 3


@for_each("logger", ["idtoken_proxy.reload", "idtoken_proxy.server"])
def test_who_asks_twice_is_answered_twice(logger: str) -> None:
    out = limited(Clock())
    for _ in range(2):
        get_logger(logger).warning("reload refused", reason="a")
    assert len(told(out)) == 2


def test_libraries_repeat_themselves_no_more_than_we_do() -> None:
    out = limited(Clock())
    for _ in range(3):
        logging.getLogger("asyncio").error("socket.accept() out of system resource")
    assert len(told(out)) == 1


def test_only_so_many_warnings_are_remembered() -> None:
    out = limited(Clock())
    log = get_logger("x")
    for number in range(513):
        log.warning("said", route=str(number))
    log.warning("said", route="512")
    log.warning("said", route="0")  # forgotten, being the oldest
    assert len(told(out)) == 514
