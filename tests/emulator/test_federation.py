from __future__ import annotations

from idtoken_proxy.emulator.federation import SERVICE, Aws, Oidc, Provider
from idtoken_proxy.emulator.world import ANY_ACCOUNT, ANYONE, World
from tests.emulator.conftest import AMAZON, PROJECT, WORLD

POOL = f"{SERVICE}/projects/1/locations/global/workloadIdentityPools/p"
PROVIDER = Provider("p", "x", Oidc("https://x"), (("repository", "repo"), ("actor", "actor")))


def test_a_provider_is_found_by_its_full_resource_name() -> None:
    assert PROVIDER.audience("1") == f"{POOL}/providers/x"
    world = World(PROJECT, (), (), "1", (PROVIDER,))
    assert world.provider(f"{POOL}/providers/x") is PROVIDER
    assert world.provider(f"{POOL}/providers/y") is None
    assert WORLD.provider(f"{POOL}/providers/x") is None


def test_whom_an_issuer_vouches_for_has_a_name_for_each_way_of_granting() -> None:
    principal = PROVIDER.principal("1", {"sub": "octo", "repo": "octo/app", "other": "x"})
    assert principal.members == {
        f"principal:{POOL}/subject/octo",
        f"principalSet:{POOL}/*",
        f"principalSet:{POOL}/attribute.repository/octo/app",
    }


def test_a_role_of_aws_is_known_by_arn() -> None:
    aws = Aws("111122223333", "web")
    assert Provider("p", "a", aws).aws_principal("1", aws).members == {
        f"principal:{POOL}/subject/arn:aws:sts::111122223333:assumed-role/web/i-0123456789abcdef0",
        f"principalSet:{POOL}/*",
        f"principalSet:{POOL}/attribute.aws_role/arn:aws:sts::111122223333:assumed-role/web",
    }


def test_it_is_among_those_who_are_named_alone() -> None:
    principal = PROVIDER.principal("1", {"sub": "octo"})
    assert principal.is_among(frozenset({f"principalSet:{POOL}/*"}))
    assert not principal.is_among(frozenset({ANYONE, ANY_ACCOUNT, f"principal:{POOL}/subject/another"}))


def test_keys_of_aws_look_as_aws_makes_them_and_stay() -> None:
    again = Aws(AMAZON.account, AMAZON.role)
    assert again.access_key_id == AMAZON.access_key_id
    assert AMAZON.access_key_id.startswith("ASIA")
    assert (len(AMAZON.access_key_id), len(AMAZON.secret_access_key)) == (20, 40)
    assert len({AMAZON.secret_access_key, AMAZON.session_token, Aws("111122223333").session_token}) == 3
