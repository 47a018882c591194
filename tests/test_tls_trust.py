"""Whom receivers' certificates must come from; how they are verified is in engine/test_tls.py."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from idtoken_proxy.errors import ConfigError
from idtoken_proxy.settings.identities import NoIdentity
from idtoken_proxy.settings.model import Route, Settings, Upstream
from idtoken_proxy.tls_trust import Trust, trust, trust_ahead

WAYS = pytest.mark.parametrize(
    "asked", [trust, lambda settings: trust_ahead(settings)()], ids=["at once", "ahead"]
)


def reaching(*schemes: str, ca_file: Path | None = None) -> Settings:
    routes = tuple(
        Route(scheme, Upstream(scheme, "receiver.example", 1), None, NoIdentity())  # type: ignore[arg-type]
        for scheme in schemes
    )
    return Settings(routes, ca_file=None if ca_file is None else str(ca_file))


@WAYS
def test_certificates_and_names_are_always_checked(asked: Callable[[Settings], Trust]) -> None:
    context = asked(reaching("http", "https"))
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@WAYS
def test_a_ca_file_is_trusted_besides_the_systems_roots(
    asked: Callable[[Settings], Trust], tmp_path: Path
) -> None:
    trustme.CA(organization_name="Ours").cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = asked(reaching("https", ca_file=tmp_path / "ca.pem"))
    system = asked(reaching("https"))
    assert context is not None
    assert system is not None
    owners = [str(certificate["subject"]) for certificate in context.get_ca_certs()]
    assert len([owner for owner in owners if "Ours" in owner]) == 1
    assert len([owner for owner in owners if "The system's" in owner]) == 1  # tests/conftest.py
    assert len(owners) == len(system.get_ca_certs()) + 1


@WAYS
def test_a_ca_file_that_is_none_is_told(asked: Callable[[Settings], Trust], tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for path in (tmp_path / "ca.pem", tmp_path / "absent"):
        with pytest.raises(ConfigError) as caught:
            asked(reaching("https", ca_file=path))
        assert str(caught.value.problems[0]).startswith(f"settings: tls.ca_file: {path} cannot be read: ")


@WAYS
def test_plain_http_needs_none(asked: Callable[[Settings], Trust]) -> None:
    assert asked(reaching("http", ca_file=Path("/absent"))) is None


def test_ahead_is_in_a_thread_that_nobody_waits_for_at_the_end(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # opens when somebody writes, as a disk that hangs does later
    trusted = trust_ahead(reaching("https", ca_file=pipe))
    (reader,) = set(threading.enumerate()) - before
    assert reader.daemon
    with pipe.open("w"):
        pass
    with pytest.raises(ConfigError):
        trusted()
    reader.join(5)
    assert not reader.is_alive()
