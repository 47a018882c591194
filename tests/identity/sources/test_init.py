"""Of sources/__init__.py."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity import sources as package
from idtoken_proxy.identity.sources import build
from idtoken_proxy.settings.identities import (
    BY_TYPE,
    AutoIdentity,
    CommandIdentity,
    ExternalAccountIdentity,
    FileIdentity,
    GcloudIdentity,
    Identity,
    ImpersonatedIdentity,
    MetadataIdentity,
    NoIdentity,
    OauthIdentity,
    ServiceAccountIdentity,
    SignedJwtIdentity,
    UserIdentity,
    sources,
)
from idtoken_proxy.settings.model import GoogleEndpoints
from tests.cases import for_each
from tests.settings.forms import form_of
from tests.settings.forms import identity as identity_of_form

EACH: tuple[tuple[Identity, str, float, str], ...] = (
    (AutoIdentity(), "auto", 600.0, "auto: nothing found yet"),
    (MetadataIdentity(), "metadata", 210.0, "metadata server at mds:80, account default"),
    (MetadataIdentity("a@b"), "metadata", 210.0, "metadata server at mds:80, account a@b"),
    (ServiceAccountIdentity("/k.json"), "service_account", 600.0, "key file /k.json"),
    (FileIdentity("/t.jwt"), "file", 600.0, "token file /t.jwt"),
    (UserIdentity(), "user", 600.0, "login in /sdk/application_default_credentials.json"),
    (OauthIdentity("/c.json"), "oauth", 600.0, "login in /c.json"),
    (GcloudIdentity(), "gcloud", 600.0, "gcloud login"),
    (GcloudIdentity("a@b"), "gcloud", 600.0, "gcloud login of a@b"),
    (CommandIdentity(("/x", "secret")), "command", 600.0, "command /x"),
    (
        ImpersonatedIdentity("t@p", ("d@p", "e@p"), MetadataIdentity()),
        "impersonated",
        600.0,
        "t@p, impersonated via d@p via e@p by metadata server at mds:80, account default",
    ),
    (
        ExternalAccountIdentity("/x.json"),
        "external_account",
        600.0,
        "workload identity federation by /x.json",
    ),
    (
        ExternalAccountIdentity("/x.json", "t@p"),
        "external_account",
        600.0,
        "workload identity federation by /x.json, impersonating t@p",
    ),
    (
        SignedJwtIdentity("t@p", source=MetadataIdentity()),
        "signed_jwt",
        600.0,
        "JWT of t@p, signed by IAM Credentials for metadata server at mds:80, account default",
    ),
    (
        SignedJwtIdentity("t@p", "/k.json"),
        "signed_jwt",
        600.0,
        "JWT of t@p, signed with key file /k.json",
    ),
)


@for_each(("identity", "name", "refresh_ahead", "described"), EACH)
def test_each_identity_has_its_source(
    identity: Identity, name: str, refresh_ahead: float, described: str
) -> None:
    source = build(identity, GoogleEndpoints(), {"GCE_METADATA_HOST": "mds:80", "CLOUDSDK_CONFIG": "/sdk"})
    assert (source.name, source.refresh_ahead, source.describe()) == (name, refresh_ahead, described)


def built(kind: str) -> Identity:
    return identity_of_form(form_of(kind))


@for_each("kind", [kind for kind, declared in BY_TYPE.items() if declared.asks])
def test_who_can_impersonate(kind: str) -> None:
    source = built(kind)
    for identity in (ImpersonatedIdentity("t@p", source=source), SignedJwtIdentity("t@p", source=source)):
        assert (
            build(source, GoogleEndpoints(), {}).describe()
            in build(identity, GoogleEndpoints(), {}).describe()
        )


@for_each("kind", [kind for kind, declared in BY_TYPE.items() if not declared.asks])
def test_who_cannot(kind: str) -> None:
    source = built(kind)
    for identity in (ImpersonatedIdentity("t@p", source=source), SignedJwtIdentity("t@p", source=source)):
        with pytest.raises(TokenError) as caught:
            build(identity, GoogleEndpoints(), {})
        error = caught.value
        assert (error.cause, error.fault) == ("source_without_access_token", Fault.OPERATOR)
        assert error.detail == (
            f"identity type {identity.type}: a source of type {kind} cannot ask for another's tokens"
        )
        assert error.remedy == f"Use one of these as its source: {', '.join(sources())}"


def test_each_is_tried() -> None:
    assert {type(identity) for identity, *_ in EACH} == set(BY_TYPE.values()) - {NoIdentity}


def test_a_public_route_has_none() -> None:
    with pytest.raises(ValueError, match="public route"):
        build(NoIdentity(), GoogleEndpoints(), {})


def test_google_auth_and_requests_are_not_loaded_at_start() -> None:
    script = (
        "import sys, idtoken_proxy.identity.cache, idtoken_proxy.identity.sources\n"
        "print([name for name in ('requests', 'google.auth', 'cryptography') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_no_source_has_a_clock_of_its_own() -> None:
    """A token's life is counted by the clock that judges it, or nobody could turn two days in a moment."""
    asked = {
        path.name: sum(
            isinstance(node, ast.Call) and ast.unparse(node.func) in {"time", "time.time"}
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )
        for path in Path(package.__file__).parent.glob("*.py")
    }
    # When google-auth has its answer, by the clock that google-auth reads.
    assert {name: times for name, times in asked.items() if times} == {"transport.py": 2}
