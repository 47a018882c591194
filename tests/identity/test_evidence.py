"""What a text may name. The tables that do are in test_diagnosis.py."""

from __future__ import annotations

from typing import Any

from idtoken_proxy.identity.answer import Answer
from idtoken_proxy.identity.evidence import Evidence
from idtoken_proxy.identity.token import IdToken
from idtoken_proxy.settings.model import Route, Upstream
from tests.cases import for_each

NOW = 1_800_000_000.0
NUMBER = "profiles-12.europe-west1.run.app"
HASH = "profiles-x7f3kq2abc-ew.a.run.app"
CALLER = "login@shop.iam.gserviceaccount.com"


def words(host: str, email: str | None = CALLER, **more: Any) -> dict[str, str]:
    route = Route("shop", Upstream("https", host, 443), f"https://{host}", **more)
    token = IdToken("t.t.t", audience=f"https://{host}", expires_at=NOW + 3600, email=email)
    return dict(Evidence(route, token, Answer(403), NOW).words)


@for_each(
    ("host", "email", "project"),
    [
        (NUMBER, CALLER, " --project=12"),
        (f"canary---{NUMBER}", CALLER, " --project=12"),
        (HASH, CALLER, " --project=shop"),
        (HASH, "dev@shop.example", ""),
        (HASH, "1-compute@developer.gserviceaccount.com", ""),
        (HASH, None, ""),
        ("api.shop.example", CALLER, " --project=shop"),
    ],
)
def test_the_project_is_named_where_it_is_known(host: str, email: str | None, project: str) -> None:
    told = words(host, email)
    assert told["in_project"] == project
    for command in ("grant", "describe", "logs", "url", "register", "open"):
        assert told[command].endswith(project)
        assert told[command].count("--project") == (1 if project else 0)


def test_a_functions_project_stands_once() -> None:
    told = words("us-central1-shop.cloudfunctions.net")
    assert told["describe"] == "gcloud functions describe FUNCTION --region=us-central1 --project=shop"
    assert told["limit"].startswith("10 MB")
