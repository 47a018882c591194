"""Who is answered: whoever is, holds a token."""

from __future__ import annotations

from dataclasses import replace

from idtoken_proxy.metadata_server.guard import Asked, refusal
from tests.cases import for_each

PATH = "/computeMetadata/v1/instance/service-accounts/default/token"
FLAVOR = "Metadata-Flavor"


def asked(host: str | None = "localhost:8181", path: str = PATH, **headers: str) -> Asked:
    named = {FLAVOR: "Google", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Asked("GET", path, host, host, tuple(named.items()), "127.0.0.1", "127.0.0.1")


def cause(of: Asked, *allowed_hosts: str) -> str | None:
    refused = refusal(of, allowed_hosts)
    return None if refused is None else refused.cause


@for_each(
    "host",
    ["localhost:8181", "127.0.0.1:8181", "[::1]:8181", "LOCALHOST", "metadata.localhost:8181", "metadata.google.internal",
     "metadata.google.internal.", "METADATA.google.internal:80", "169.254.169.254", "169.254.169.254:80"],
)  # fmt: skip
def test_the_names_that_libraries_use(host: str) -> None:
    assert cause(asked(host)) is None


@for_each(
    "host",
    ["evil.example", "evil.example:8181", "localhost.evil.example", "127.0.0.1.evil.example", "127a0b0c1", "localhost.",
     "metadata.google.internal:8181", "metadata.google.internal.evil.example", "169.254.169.254:8181", "metadata", "",
     "10.0.0.7:8181", "user@localhost", "localhost:8181@evil.example"],
)  # fmt: skip
def test_no_other_name_so_that_no_page_rebinds_its_own(host: str) -> None:
    assert cause(asked(host)) == "host"


def test_a_request_that_names_nobody_is_nobody_s() -> None:
    assert cause(asked(None)) == "host"
    assert cause(replace(asked(None), address=None, peer=None)) is None  # a unix socket's client may


def test_a_service_of_compose_is_reached_by_its_listed_name_and_by_its_address() -> None:
    by_name = replace(asked("idtoken-proxy:8181"), address="172.18.0.3", peer="172.18.0.9")
    assert cause(by_name, "Idtoken-Proxy") is None
    assert cause(by_name) == "host"
    assert cause(replace(by_name, host="172.18.0.3:8181", target_host="172.18.0.3:8181")) is None


@for_each("name, value", [("Origin", "http://localhost:8181"), ("Origin", "null"), ("Sec_Fetch_Site", "same-origin"),
                          ("Sec_Fetch_Site", "none"), ("sec_fetch_site", "cross-site")])  # fmt: skip
def test_no_page_may_ask_not_even_one_of_this_origin(name: str, value: str) -> None:
    assert cause(asked(**{name: value})) == "page"
    assert cause(asked(path="/", **{name: value})) == "page"


def test_node_s_own_fetch_is_no_page() -> None:
    assert cause(asked(Sec_Fetch_Mode="cors", Accept_Language="*")) is None


def test_a_forwarder_is_refused_whoever_it_asks_for() -> None:
    assert cause(asked(x_forwarded_for="127.0.0.1")) == "forwarded"
    assert cause(asked(path="/", X_Forwarded_For="")) == "forwarded"


@for_each(
    "name",
    ["x-forwarded-for", "X_Forwarded_For", "X-Forwarded.For", "X-Forwarded-Host", "X-Real-IP", "x_real_ip", "Forwarded", "Via"],
)  # fmt: skip
def test_whatever_mark_it_leaves(name: str) -> None:
    assert cause(replace(asked(), headers=((FLAVOR, "Google"), (name, "x")))) == "forwarded"


def test_a_target_with_a_host_of_its_own_is_held_against_the_same_names() -> None:
    assert cause(replace(asked(), target_host="evil.example")) == "host"
    assert cause(replace(asked("evil.example"), target_host="localhost")) == "host"
    assert cause(replace(asked(), target_host=None)) == "host"
    assert cause(replace(asked(), target_host="localhost")) is None


@for_each("value", ["google", "", "Azure", "Google, Google"])
def test_the_flavor_is_demanded_to_the_letter(value: str) -> None:
    refused = refusal(asked(Metadata_Flavor=value), ())
    assert refused is not None
    assert (refused.status, refused.cause) == (403, "flavor")
    assert "Missing Metadata-Flavor:Google header." in refused.told


def test_the_flavor_is_said_once() -> None:
    for others in (("Google", "Azure"), ("Azure", "Google"), ("Google", "Google")):
        assert cause(replace(asked(), headers=tuple((FLAVOR, one) for one in others))) == "flavor"
    assert cause(replace(asked(), headers=(("Metadata_Flavor", "Google"),))) == "flavor"


def test_a_look_for_the_server_needs_none() -> None:
    assert cause(replace(asked(path="/"), headers=())) is None


def test_nothing_is_changed_here() -> None:
    refused = refusal(replace(asked(), method="POST"), ())
    assert refused is not None
    assert refused.status == 405


@for_each("peer", ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "nonsense", "1.1.1.1"])
def test_the_internet_is_refused_wherever_it_is_listened(peer: str) -> None:
    assert cause(replace(asked(), peer=peer)) == "peer"


@for_each("peer", ["127.0.0.1", "::1", "10.1.2.3", "172.18.0.9", "192.168.1.5", "100.64.0.1", "fe80::1%eth0", "fd00::2",
                   "::ffff:172.18.0.9", "169.254.1.1"])  # fmt: skip
def test_private_networks_are_not(peer: str) -> None:
    assert cause(replace(asked(), peer=peer)) is None
