from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from proxy.emulator import world_file
from proxy.emulator.world import ANYONE, Account, Service, World
from proxy.emulator.world_file import NAME_SHAPE, load_world, parse_world
from proxy.errors import ConfigError

LOGIN = "serviceAccount:login@my-project.iam.gserviceaccount.com"


def test_the_documented_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "world.yaml"
    _, _, example = str(world_file.__doc__).partition("A file with everything in it:\n")
    file.write_text(textwrap.dedent(example))
    assert load_world(str(file)) == World(
        project="my-project",
        accounts=(
            Account("login@my-project.iam.gserviceaccount.com", default=True),
            Account("search-indexer@my-project.iam.gserviceaccount.com", token_creators=frozenset({LOGIN})),
            Account("dev@example.com"),
        ),
        services=(
            Service(
                "user-profiles",
                invokers=frozenset({LOGIN, "user:dev@example.com"}),
                port=8101,
                audiences=("https://profiles.example.com",),
            ),
        ),
    )


def test_a_short_file_takes_the_defaults() -> None:
    world = parse_world("{accounts: [], services: [{name: a, invokers: [allUsers]}]}", "w.yaml")
    assert world == World("demo-project", (), (Service("a", frozenset({ANYONE})),))


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", ["w.yaml:1: a mapping of keys to values belongs here"]),
        ("- 1", ["w.yaml:1: a mapping of keys to values belongs here"]),
        ("x: [", ["w.yaml:1: no YAML: expected the node content, but found '<stream end>'"]),
        (b"\xff\xfe\xff", ["w.yaml: no YAML: not a text"]),
        (
            "accounts: 3\nservises: []\n",
            [
                "w.yaml:1: accounts: input should be a valid list, not 3",
                "w.yaml:1: services: is missing",
                "w.yaml:2: servises: no such key: 'servises'; 'services' is meant?",
            ],
        ),
        (
            "accounts:\n- name: login\n  email: x@y\n- name: LOGIN\n- email: z\n  default: maybe\nservices: []\n",
            [
                "w.yaml:2: accounts[0]: either name or email says who it is",
                f"w.yaml:4: accounts[1].name: {NAME_SHAPE}, not 'LOGIN'",
                "w.yaml:5: accounts[2].email: an email address belongs here, not 'z'",
                "w.yaml:6: accounts[2].default: input should be a valid boolean, not 'maybe'",
            ],
        ),
        (
            "accounts: []\nservices:\n- name: a\n  port: 65536\n  zzz: 1\n",
            [
                "w.yaml:4: services[0].port: input should be less than or equal to 65535, not 65536",
                "w.yaml:5: services[0].zzz: no such key: 'zzz'",
            ],
        ),
        (
            (
                "accounts:\n- {name: a, default: true}\n- {name: login, default: true, token_creators: [b]}\n"
                "services:\n- name: s\n  port: 3\n  invokers: [a, loggin]\n- name: s\n  port: 3\n"
            ),
            [
                "w.yaml:3: accounts[1].default: accounts[0] has the same already",
                "w.yaml:3: accounts[1].token_creators[0]: no such account: 'b'",
                "w.yaml:7: services[0].invokers[1]: no such account: 'loggin'; 'login' is meant?",
                "w.yaml:8: services[1].name: services[0] has the same already",
                "w.yaml:9: services[1].port: services[0] has the same already",
            ],
        ),
    ],
)
def test_every_mistake_is_told_with_its_line(text: str | bytes, problems: list[str]) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_world(text, "w.yaml")
    assert [str(problem) for problem in raised.value.problems] == problems
