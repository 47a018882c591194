"""Every example in config/ loads, and says what its comments promise."""

from __future__ import annotations

from pathlib import Path

from idtoken_proxy.settings.identities import (
    ImpersonatedIdentity,
    MetadataIdentity,
    NoIdentity,
    SignedJwtIdentity,
    UserIdentity,
)
from idtoken_proxy.settings.load import load_settings, settings_from_text
from idtoken_proxy.settings.model import UnixAddress
from tests.cases import for_each

CONFIG = Path(__file__).parents[2] / "config"


@for_each("file", sorted(CONFIG.glob("*.yaml")), ids=lambda file: file.name)
def test_loads_without_any_variable_set(file: Path) -> None:
    assert load_settings(str(file), {}).routes


def test_there_are_the_four() -> None:
    assert {file.stem for file in CONFIG.glob("*.yaml")} >= {
        "single-service",
        "several-routes",
        "local-development",
        "laptop",
    }


def test_single_service_is_reached_at_the_root_and_may_be_another() -> None:
    file = str(CONFIG / "single-service.yaml")
    (route,) = load_settings(file, {"USER_PROFILES_URL": "https://other.a.run.app"}).routes
    assert (route.path, route.audience) == ("/", "https://other.a.run.app")


def test_several_routes_tell_every_kind_of_audience() -> None:
    settings = load_settings(str(CONFIG / "several-routes.yaml"), {})
    assert {route.name: route.audience for route in settings.routes} == {
        "user-profiles": "https://user-profiles-x7f3kq-uc.a.run.app",
        "search": "https://search-x7f3kq-uc.a.run.app",
        "thumbnails": "https://us-central1-my-project.cloudfunctions.net/thumbnails",
        "admin-app": "123456789-abcdef.apps.googleusercontent.com",
        "weather": None,
    }
    assert [type(route.identity) for route in settings.routes] == [MetadataIdentity] * 4 + [NoIdentity]


def test_local_development_takes_what_the_emulator_prints() -> None:
    printed = {
        "GCE_METADATA_HOST": "127.0.0.1:9999",
        "USER_PROFILES_URL": "http://127.0.0.1:33663",
        "SEARCH_URL": "http://127.0.0.1:34899",
    }
    settings = load_settings(str(CONFIG / "local-development.yaml"), printed)
    assert settings.google.metadata_host == "127.0.0.1:9999"
    assert [str(route.upstream) for route in settings.routes] == [
        "http://127.0.0.1:33663",
        "http://127.0.0.1:34899",
    ]


def test_a_laptop_acts_as_a_service_account_by_its_users_login() -> None:
    caller, user = "me@p.iam.gserviceaccount.com", UserIdentity()
    settings = load_settings(str(CONFIG / "laptop.yaml"), {"CALLER": caller})
    impersonated = ImpersonatedIdentity(caller, source=user)
    assert {route.name: (route.identity, route.audience) for route in settings.routes} == {
        "user-profiles": (impersonated, "https://user-profiles-x7f3kq-uc.a.run.app"),
        "admin-app": (impersonated, "123456789-abcdef.apps.googleusercontent.com"),
        "wiki": (SignedJwtIdentity(caller, source=user), "https://wiki.example.com/*"),
    }


def test_a_laptops_socket_is_a_comment_that_works_without_its_mark() -> None:
    text = (CONFIG / "laptop.yaml").read_text().replace("# listen: unix:", "listen: unix:")
    settings = settings_from_text(text, "laptop.yaml", {"HOME": "/home/me"})
    assert settings.listen == (UnixAddress("/home/me/.idtoken-proxy/proxy.sock"),)
