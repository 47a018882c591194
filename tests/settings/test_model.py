from __future__ import annotations

import subprocess
import sys

from idtoken_proxy.settings import model
from idtoken_proxy.settings.model import Settings, TcpAddress, UnixAddress, Upstream
from tests.cases import for_each
from tests.settings.told import ROUTE, settings


@for_each(
    ("address", "written"),
    [
        (TcpAddress("localhost", 8080), "localhost:8080"),
        (TcpAddress("::1", 0), "[::1]:0"),
        (UnixAddress("/run/a.sock"), "unix:/run/a.sock"),
    ],
)
def test_addresses_are_written_as_they_are_read(address: model.Address, written: str) -> None:
    assert str(address) == written


@for_each(
    ("upstream", "authority", "written"),
    [
        (Upstream("https", "a.run.app", 443), "a.run.app", "https://a.run.app"),
        (Upstream("https", "a.run.app", 80, "/b"), "a.run.app:80", "https://a.run.app:80/b"),
        (Upstream("http", "::1", 80), "[::1]", "http://[::1]"),
        (Upstream("http", "::1", 443), "[::1]:443", "http://[::1]:443"),
    ],
)
def test_an_authority_leaves_the_default_port_out(upstream: Upstream, authority: str, written: str) -> None:
    assert (upstream.authority, str(upstream)) == (authority, written)


def test_what_is_left_out_of_a_configuration_is_the_models_default() -> None:
    found = settings(ROUTE)
    assert found == Settings(
        (model.Route("a", Upstream("https", "a.a.run.app", 443), "https://a.a.run.app"),)
    )


def test_settings_can_be_compared_and_hashed() -> None:
    assert hash(settings(ROUTE)) == hash(settings(ROUTE))


def test_the_model_costs_no_yaml() -> None:
    probe = "import sys, idtoken_proxy.settings.model; print({'yaml', 'ssl'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
