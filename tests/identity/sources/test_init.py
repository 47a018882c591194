"""Of sources/__init__.py."""

from __future__ import annotations

import subprocess
import sys

import pytest

from proxy.errors import Fault, TokenError
from proxy.identity.sources import build
from proxy.settings.model import (
    AutoIdentity,
    CommandIdentity,
    ExternalAccountIdentity,
    FileIdentity,
    GcloudIdentity,
    GoogleEndpoints,
    Identity,
    ImpersonatedIdentity,
    MetadataIdentity,
    NoIdentity,
    ServiceAccountIdentity,
    UserIdentity,
)


@pytest.mark.parametrize(
    ("identity", "name", "refresh_ahead", "described"),
    [
        (AutoIdentity(), "auto", 600.0, "auto: nothing found yet"),
        (MetadataIdentity(), "metadata", 210.0, "metadata server at mds:80, account default"),
        (MetadataIdentity("a@b"), "metadata", 210.0, "metadata server at mds:80, account a@b"),
        (ServiceAccountIdentity("/k.json"), "service_account", 600.0, "key file /k.json"),
        (FileIdentity("/t.jwt"), "file", 600.0, "token file /t.jwt"),
    ],
)
def test_each_identity_has_its_source(
    identity: Identity, name: str, refresh_ahead: float, described: str
) -> None:
    source = build(identity, GoogleEndpoints(), {"GCE_METADATA_HOST": "mds:80"})
    assert (source.name, source.refresh_ahead, source.describe()) == (name, refresh_ahead, described)


@pytest.mark.parametrize(
    ("identity", "kind"),
    [
        (UserIdentity(), "user"),
        (GcloudIdentity(), "gcloud"),
        (ImpersonatedIdentity("a@b"), "impersonated"),
        (ExternalAccountIdentity("/x.json"), "external_account"),
        (CommandIdentity(("x",)), "command"),
    ],
)
def test_what_this_version_does_not_have(identity: Identity, kind: str) -> None:
    with pytest.raises(TokenError, match=f"identity type {kind} ") as caught:
        build(identity, GoogleEndpoints(), {})
    assert caught.value.fault is Fault.OPERATOR


def test_a_public_route_has_none() -> None:
    with pytest.raises(ValueError, match="public route"):
        build(NoIdentity(), GoogleEndpoints(), {})


def test_google_auth_and_requests_are_not_loaded_at_start() -> None:
    script = (
        "import sys, proxy.identity.cache, proxy.identity.sources\n"
        "print([name for name in ('requests', 'google.auth', 'cryptography') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
