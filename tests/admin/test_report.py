from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy import __version__
from idtoken_proxy.admin.probe import Step
from idtoken_proxy.admin.report import Finding, Report, RouteReport, Verdict, as_json, as_text
from idtoken_proxy.terminal import printable
from tests.cases import for_each

URL = "https://profiles-12.europe-west1.run.app"
NO_INVOKER = Finding(Verdict.FAIL, "no_invoker", "login may not invoke profiles", "gcloud run ...")
SKEW = Finding(Verdict.WARN, "clock_skew", "2 h behind", "timedatectl")

PROFILES = RouteReport(
    "profiles",
    URL,
    URL,
    "metadata",
    "metadata server, account default",
    "login@shop",
    URL,
    3540.4,
    (Step("dns", 0.0012), Step("tcp", 0.02), Step("tls", 0.031), Step("answer", 0.1)),
    200,
    http2=True,
)
WEATHER = RouteReport(
    "weather",
    "http://localhost:1",
    None,
    "none",
    "none, a public route",
    steps=(Step("dns", 0), Step("tcp", 0, "refused")),
)
SEARCH = RouteReport(
    "search",
    URL,
    "custom",
    "metadata",
    "metadata server, account default",
    "login@shop",
    "custom",
    119.6,
    PROFILES.steps,
    403,
    findings=(SKEW, NO_INVOKER),
    http2=True,
)
APP = RouteReport(
    "app", URL, URL, "file", "token file /t", None, URL, 60, PROFILES.steps, 404, by_app=True, http2=False
)

HTTP1_ALONE = (
    "HTTP/2 no: speaks HTTP/1.1 alone. gRPC needs HTTP/2 all the way, on Cloud Run: "
    "gcloud run services update SERVICE --use-http2"
)


@for_each(
    ("findings", "expected"),
    [
        ((), Verdict.OK),
        ((SKEW,), Verdict.WARN),
        ((SKEW, NO_INVOKER), Verdict.FAIL),
        ((NO_INVOKER, SKEW), Verdict.FAIL),
    ],
)
def test_the_worst_finding_is_the_verdict(findings: tuple[Finding, ...], expected: Verdict) -> None:
    report = RouteReport("a", "b", None, "none", "none", findings=findings)
    assert report.verdict is expected
    assert Report((report,)).all_ok is (expected is Verdict.OK)


def test_the_table_groups_routes_by_identity_and_tells_what_to_mend() -> None:
    lines = list(as_text(Report((PROFILES, WEATHER, SEARCH, APP)), colors=False))
    assert lines == [
        "  ROUTE     VERDICT  TOKEN        DNS   TCP     TLS    HTTP/2  ANSWER                  AUDIENCE",
        "metadata server, account default (login@shop)",
        f"  profiles  ok       59 min left  1 ms  20 ms   31 ms  yes     200, 100 ms             {URL}",
        "  search    fail     120 s left   1 ms  20 ms   31 ms  yes     403, 100 ms             custom",
        "none, a public route",
        "  weather   ok       -            0 ms  failed  -      -       -                       -",
        "token file /t",
        f"  app       ok       60 s left    1 ms  20 ms   31 ms  no      404 of the app, 100 ms  {URL}",
        HTTP1_ALONE,
        "",
        "warn: search: clock_skew",
        "  2 h behind",
        "  identity: metadata server, account default (login@shop)",
        "  audience: custom",
        f"  receiver: {URL}",
        "  to mend:  timedatectl",
        "",
        "fail: search: no_invoker",
        "  login may not invoke profiles",
        "  identity: metadata server, account default (login@shop)",
        "  audience: custom",
        f"  receiver: {URL}",
        "  to mend:  gcloud run ...",
        "",
        "1 of 4 routes needs mending",
    ]


@for_each(
    ("identity", "told"),
    [
        ("key file /k of in@shop", "key file /k of in@shop"),
        ("in@shop, impersonated by auto", "in@shop, impersonated by auto"),
        ("key file /k of login@shop", "key file /k of login@shop (in@shop)"),
        ("token file /t", "token file /t (in@shop)"),
    ],
)
def test_an_email_is_told_once(identity: str, told: str) -> None:
    report = Report((replace(PROFILES, identity=identity, email="in@shop"),))
    assert list(as_text(report, colors=False))[1] == told


@for_each(
    ("routes", "expected"),
    [
        ((PROFILES,), "OK: 1 route"),
        ((PROFILES, APP), "OK: 2 routes"),
        ((SEARCH,), "1 of 1 route needs mending"),
        ((SEARCH, SEARCH), "2 of 2 routes need mending"),
    ],
)
def test_the_last_line_counts(routes: tuple[RouteReport, ...], expected: str) -> None:
    assert list(as_text(Report(routes), colors=False))[-1] == expected


def test_colors_mark_the_verdicts_and_nothing_else() -> None:
    report = Report((PROFILES, SEARCH))
    colored = list(as_text(report, colors=True))
    plain = list(as_text(report, colors=False))
    marked = [line for line in colored if "\x1b[" in line]
    assert len(marked) == 4
    assert [line for line in colored if line not in marked] == [
        line for line, other in zip(plain, colored, strict=True) if other not in marked
    ]
    assert "\x1b[32m" in marked[0]
    assert "\x1b[31m\x1b[1mfail" in marked[1]


OUT = RouteReport(
    "out",
    URL,
    URL,
    "none",
    "none, a public route",
    steps=(Step("dns", 0.001), Step("tcp", 0.002), Step("connect", 0.03, "answered 407")),
    findings=(NO_INVOKER,),
    egress_proxy="proxy.corp:3128",
    http2=False,
)


def test_a_way_through_an_egress_proxy_has_a_step_and_a_column_of_its_own() -> None:
    lines = list(as_text(Report((PROFILES, OUT)), colors=False))
    assert lines[:5] == [
        "  ROUTE     VERDICT  TOKEN        DNS   TCP    CONNECT  TLS    HTTP/2  ANSWER       AUDIENCE",
        "metadata server, account default (login@shop)",
        f"  profiles  ok       59 min left  1 ms  20 ms  -        31 ms  yes     200, 100 ms  {URL}",
        "none, a public route",
        f"  out       fail     -            1 ms  2 ms   failed   -      no      -            {URL}",
    ]
    # What had to be HTTP/2 has failed, and its finding says so.
    assert not any(line.startswith("HTTP/2 no") for line in lines)
    assert f"  receiver: {URL}, through the egress proxy proxy.corp:3128" in lines
    (told,) = json.loads(as_json(Report((OUT,))))["routes"]
    assert told["receiver"]["egress_proxy"] == "proxy.corp:3128"
    assert told["receiver"]["steps"][2] == {"name": "connect", "ms": 30.0, "error": "answered 407"}


def test_json_tells_everything() -> None:
    told = json.loads(as_json(Report((SEARCH, WEATHER))))
    assert told["version"] == __version__
    assert told["ok"] is False
    search, weather = told["routes"]
    assert search == {
        "name": "search",
        "verdict": "fail",
        "upstream": URL,
        "audience": "custom",
        "scopes": None,
        "identity": {
            "type": "metadata",
            "found": "metadata server, account default",
            "email": "login@shop",
            "subject": None,
        },
        "token": {"audience": "custom", "expires_in": 120},
        "receiver": {
            "steps": [
                {"name": "dns", "ms": 1.2, "error": None},
                {"name": "tcp", "ms": 20.0, "error": None},
                {"name": "tls", "ms": 31.0, "error": None},
                {"name": "answer", "ms": 100.0, "error": None},
            ],
            "egress_proxy": None,
            "http2": True,
            "status": 403,
            "by_app": False,
        },
        "findings": [
            {"verdict": "warn", "cause": "clock_skew", "detail": "2 h behind", "remedy": "timedatectl"},
            {
                "verdict": "fail",
                "cause": "no_invoker",
                "detail": "login may not invoke profiles",
                "remedy": "gcloud run ...",
            },
        ],
    }
    assert weather["token"] is None
    assert weather["receiver"]["http2"] is None
    assert weather["receiver"]["steps"][1] == {"name": "tcp", "ms": 0, "error": "refused"}
    assert json.loads(as_json(Report((PROFILES,))))["ok"] is True


@given(st.text(max_size=20))
def test_nothing_that_anyone_says_is_an_order_to_the_terminal(said: str) -> None:
    finding = Finding(Verdict.FAIL, "cause", said, said)
    route = replace(
        SEARCH, name=said, upstream=said, audience=said, identity=said, email=said, findings=(finding,),
        steps=(Step("dns", 0, said),),
    )  # fmt: skip
    for line in as_text(Report((route,)), colors=False):
        line.encode()
        assert printable(line) == line
    as_json(Report((route,))).encode("ascii")


STORAGE = RouteReport(
    "storage",
    "https://storage.googleapis.com",
    None,
    "user",
    "login of dev@example.com in /adc.json",
    "dev@example.com",
    expires_in=3000,
    steps=PROFILES.steps,
    status=403,
    findings=(Finding(Verdict.FAIL, "token_scopes", "too few", "scopes: [...]"),),
    scopes=("https://www.googleapis.com/auth/devstorage.read_only", "email"),
)


def test_an_access_token_is_told_in_the_same_words() -> None:
    lines = list(as_text(Report((PROFILES, STORAGE)), colors=False))
    assert lines[0].endswith("AUDIENCE OR SCOPES")
    assert "50 min left" in lines[4]
    assert lines[4].endswith("devstorage.read_only email")
    assert "  scopes:   https://www.googleapis.com/auth/devstorage.read_only email" in lines
    (told,) = json.loads(as_json(Report((STORAGE,))))["routes"]
    assert told["scopes"] == ["https://www.googleapis.com/auth/devstorage.read_only", "email"]
    assert (told["audience"], told["token"]) == (None, {"audience": None, "expires_in": 3000})
