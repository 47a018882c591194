"""deploy/pushes/: against the Compose specification's schema; that pushes arrive is end_to_end/test_pushes.py's."""

from __future__ import annotations

from pathlib import Path

import yaml

from idtoken_proxy.emulator.world_file import load_world
from idtoken_proxy.settings.identities import MetadataIdentity
from idtoken_proxy.settings.load import load_settings
from tests.deploy.test_compose import check

HERE = Path(__file__).parents[2] / "deploy" / "pushes"


def test_fits_the_schema_and_mounts_what_is_there() -> None:
    answer = check(HERE / "compose.yaml")
    assert answer.returncode == 0, answer.stdout
    services = yaml.safe_load((HERE / "compose.yaml").read_text())["services"]
    for service in services.values():
        for volume in service.get("volumes", ()):
            source, _, mode = volume.split(":")
            assert (HERE / source).is_file()
            assert mode == "ro"
        assert service.get("network_mode", "service:google") == "service:google"


def test_each_route_is_an_account_s_that_the_service_lets_in() -> None:
    world = load_world(str(HERE / "world.yaml"))
    (orders,) = world.services
    for route in load_settings(str(HERE / "proxy.yaml"), {}).routes:
        assert route.upstream.port == orders.port
        assert isinstance(route.identity, MetadataIdentity)
        assert f"serviceAccount:{route.identity.service_account}" in orders.invokers
