"""Paths and their values, as the real server writes them."""

from __future__ import annotations

import json

from idtoken_proxy.metadata_server.tree import JSON, TEXT, Minted, Query, found, tree, written
from idtoken_proxy.settings.model import CLOUD_PLATFORM, Scopes
from tests.cases import for_each

EMAIL = "login-app@my-project.iam.gserviceaccount.com"
ROOT = tree(EMAIL, Scopes(("scope-a", "scope-b")), "my-project", "googleapis.com")
ACCOUNT = f"instance/service-accounts/{EMAIL}"


def told(path: str, **query: object) -> tuple[str, str]:
    node = found(ROOT, path)
    assert node is not None
    assert not isinstance(node, Minted)
    return written(node, Query(**query))  # type: ignore[arg-type]  # of a test


@for_each(
    "path, text",
    [
        ("", "instance/\nproject/\nuniverse/\n"),
        ("instance/", "service-accounts/\n"),
        ("instance/service-accounts/", f"default/\n{EMAIL}/\n"),
        ("instance/service-accounts/default/", "aliases\nemail\nidentity\nscopes\ntoken\n"),
        ("instance/service-accounts/default/email", EMAIL),
        (f"{ACCOUNT}/email", EMAIL),
        (f"{ACCOUNT}/aliases", "default\n"),
        (f"{ACCOUNT}/scopes", "scope-a\nscope-b\n"),
        ("project/", "project-id\n"),
        ("project/project-id", "my-project"),
        ("universe/universe-domain", "googleapis.com"),
    ],
)
def test_plain(path: str, text: str) -> None:
    assert told(path) == (text, TEXT)


def test_a_value_as_json() -> None:
    assert told("project/project-id", alt="json") == ('"my-project"', JSON)
    assert told(f"{ACCOUNT}/scopes", alt="json") == ('["scope-a", "scope-b"]', JSON)


def test_recursively() -> None:
    body, media_type = told("", recursive=True)
    account = {"aliases": ["default"], "email": EMAIL, "scopes": ["scope-a", "scope-b"]}
    assert media_type == JSON
    assert json.loads(body) == {
        "instance": {"serviceAccounts": {"default": account, EMAIL: account}},
        "project": {"projectId": "my-project"},
        "universe": {"universeDomain": "googleapis.com"},
    }


def test_recursively_as_text() -> None:
    body, media_type = told("instance/service-accounts/", recursive=True, alt="text")
    assert media_type == TEXT
    assert body.splitlines()[:3] == [
        "default/aliases default",
        f"default/email {EMAIL}",
        "default/scopes scope-a scope-b",
    ]


@for_each(
    "path",
    ["instance/zone", "nothing", "instance/service-accounts/other@x.iam.gserviceaccount.com/token", "project/project-id/x",
     "instance/service-accounts/default/identity/x", "../etc/passwd"],
)  # fmt: skip
def test_what_there_is_not(path: str) -> None:
    assert found(ROOT, path) is None


def test_without_an_email_and_a_project_nothing_is_made_up() -> None:
    """An agent's tokens have no email: its account is the default one, and no other."""
    root = tree(None, None, None, "googleapis.com")
    assert found(root, "instance/service-accounts/default/email") is None
    assert found(root, "project/project-id") is None
    assert found(root, "instance/service-accounts/default/scopes") == (CLOUD_PLATFORM,)
    assert found(root, "instance/service-accounts/default/token") is Minted.TOKEN
