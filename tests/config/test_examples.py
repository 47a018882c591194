"""Every example in config/ loads, and says what its comments promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.settings.load import load_settings
from proxy.settings.model import MetadataIdentity, NoIdentity

CONFIG = Path(__file__).parents[2] / "config"


@pytest.mark.parametrize("file", sorted(CONFIG.glob("*.yaml")), ids=lambda file: file.name)
def test_loads_without_any_variable_set(file: Path) -> None:
    assert load_settings(str(file), {}).routes


def test_there_are_the_three() -> None:
    assert {file.stem for file in CONFIG.glob("*.yaml")} >= {
        "single-service",
        "several-routes",
        "local-development",
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
