"""What may be shown, and what is told by its look."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idtoken_proxy.errors import ConfigError
from idtoken_proxy.settings import plausible
from idtoken_proxy.settings.document import Document
from idtoken_proxy.settings.environment import OVERRIDES
from idtoken_proxy.settings.load import load_settings, settings_from_text
from idtoken_proxy.settings.schema_dsl import Entry, Items, Scalar, Section, Tagged
from tests.cases import and_thoroughly, for_each
from tests.steps import steps_of

KEY = json.dumps(
    {"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\nMIIEvSENTINEL\n"}, indent=2
)
BASE64 = base64.b64encode(KEY.encode()).decode()
SECRETS = {
    "key": KEY,
    "key on one line": json.dumps(json.loads(KEY)),
    "key in quotes": f"'{KEY}'",
    "key as a JSON string": json.dumps(KEY),
    "base64": BASE64,
    "base64, url-safe": base64.urlsafe_b64encode(KEY.encode()).decode(),
    "base64, wrapped": base64.encodebytes(KEY.encode()).decode(),
    "base64, a piece": BASE64[:60],
    "PEM": "-----BEGIN PRIVATE KEY-----\nMIIEvSENTINEL\n-----END PRIVATE KEY-----\n",
    "JWT": "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJTRU5USU5FTCJ9.SENTINEL",
    "access token": "ya29.a0AfSENTINELx_y-z",
    "refresh token": "1//0gSENTINELabcdef",
    "client secret": "GOCSPX-SENTINELabcdef",
    "URL": "https://somebody:SENTINEL@proxy.example.com/",
    "user and password": "somebody:SENTINEL@proxy.example.com",
    "YAML": "routes:\n- name: SENTINEL\n  upstream: https://a.run.app\n",
    "JSON": '{"routes": [{"name": "SENTINEL"}]}',
}
ONLY_PERHAPS = {
    "password": "SENTINEL&tr0ub4dor",
    "random": "x8KqSENTINEL0Zr4TnW2vBq7LmYd",
    "hexadecimal": "5e0d" * 16,
    "query": "https://app.example.com/?key=SENTINEL",
}


@for_each("secret", SECRETS.values(), ids=SECRETS)
def test_a_credential_is_no_value_of_a_configuration_and_is_not_shown(secret: str) -> None:
    told = (plausible.objection(secret), plausible.path_objection(secret), plausible.shown_path(secret))
    for said in (*told, plausible.shown(secret), plausible.shown_key(secret)):
        assert said
        assert "SENTINEL" not in said
        assert secret not in said


@for_each("secret", ONLY_PERHAPS.values(), ids=ONLY_PERHAPS)
def test_what_may_be_a_secret_is_not_shown(secret: str) -> None:
    for said in (plausible.shown(secret), plausible.shown_path(secret), plausible.shown_key(secret)):
        assert "SENTINEL" not in said
        assert secret not in said


@for_each(
    "value",
    [
        "/srv/key.json", "~/key.json", "key.json", "../keys/sa-1.json", "/home/A.Person/My Keys/sa-key-1.json",
        "/var/folders/zz/zyxvpxvq6csfxvn_n0000000000000/T/k.json", "/opt/app/My Project-0123456789ab.json",
        "https://user-profiles-x7f3kq-uc.a.run.app", "https://user-profiles-123456789012.europe-west1.run.app/base",
        "123456789012-abcdefghijklmnop0123456789abcdef.apps.googleusercontent.com", "0.0.0.0:8080", "[::1]:80",
        "unix:~/proxy.sock", "[fe80::1%eth0]:80", "1h30m", "64KiB", "name@project-id.iam.gserviceaccount.com",
        "108234567890123456789", "/API/V1/UserProfilesService2/Get", "service_acount", "a.example.com:443",
        "/tmp/pytest-of-root/pytest-90/popen-gw0/test_what_is_broken_inside_is_0/f",
    ],
)  # fmt: skip
def test_what_is_plausible_is_shown_as_it_is(value: str) -> None:
    assert plausible.shown(value) == f'"{value}"'
    assert plausible.shown_path(value) == value
    assert plausible.objection(value) is None


@for_each(
    ("text", "said"),
    [
        ('"/k.json"', "has quotes that are part of it"),
        ("'/k.json'", "has quotes"),
        ("\u201c/k.json\u201d", "has quotes"),
        ("/k.json'", "has quotes"),
        ("/k.json\r", "CR, as files with Windows line ends have"),
        ("/k.json\n", "has a line break around it (LF)"),
        ("/k.json ", "has blanks around it"),
        ("\ufeff/k.json", "begins with an invisible character"),
        ("/k\u200b.json", "holds an invisible character"),
        ("/k.json,", 'ends in ","'),
        ("/k.json;", 'ends in ";"'),
        ("export X=/k.json", "begins with an assignment"),
        ("GOOGLE_APPLICATION_CREDENTIALS=/k.json", "begins with an assignment"),
        ("file:///k.json", "is a file: URL"),
        ("https://example.com/k.json", "is a URL"),
        ("$HOME/k.json", "begins with a variable that nothing expands here"),
        ("${HOME}/k.json", "begins with a variable"),
        ("%USERPROFILE%/k.json", "begins with a variable"),
        ("~/k.json", "begins with ~"),
        ("~other/k.json", "begins with ~"),
    ],
)
def test_what_stands_around_a_path_is_named(text: str, said: str) -> None:
    assert said in (plausible.path_objection(text) or "")


def test_a_tilde_is_the_home_directory_where_the_configuration_says_so() -> None:
    assert plausible.path_objection("~/k.json", home=True) is None
    assert plausible.path_objection("~/k.json") is not None


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_whatever_it_is_a_message_is_one_line(value: str) -> None:
    for said in (plausible.shown(value), plausible.shown_path(value), plausible.shown_key(value)):
        assert said.isprintable() or said == ""
        assert len(said) <= 1100
    assert plausible.objection(value) is None or plausible.objection(value) != value


@given(st.binary(min_size=12, max_size=60), st.integers(0, 3))
def test_a_piece_of_a_key_in_base64_is_known_wherever_it_begins(noise: bytes, skipped: int) -> None:
    whole = base64.b64encode(noise + b'"private_key": "-----BEGIN PRIVATE KEY-----' + noise).decode()
    assert plausible.credential_in(whole[skipped:].rstrip("=")) is not None


@given(
    st.lists(
        st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789_-", min_size=1, max_size=20),
        min_size=1,
        max_size=8,
    )
)
def test_a_path_of_plain_words_is_no_document_in_base64(parts: list[str]) -> None:
    assert plausible.credential_in("/" + "/".join(parts)) != "a document in base64"


_MARKS = (
    *(
        "ya29.",
        "z29.c.",
        "1//",
        "gocspx-",
        "aiza",
        "sk-",
        "pk_",
        "rk-",
        "xoxb-",
        "gho_",
        "github_pat_",
        "akia",
        "eyj",
        "mii",
    ),
    *(
        "private_key:",
        "client_secret:",
        "id_token:",
        "password:",
        "passwd:",
        "passphrase:",
        "secret_access_key:",
        "//a:b",
    ),
    *(base64.b64encode(b" " * skipped + b'{"type": "a"}').decode().lower() for skipped in range(3)),
)


@given(
    st.lists(
        st.sampled_from(_MARKS) | st.text("abcdefghijklmnopqrstuvwxyz0123456789./:_-", max_size=20),
        max_size=5,
    )
)
def test_a_plain_word_is_passed_over_only_where_no_search_would_find_anything(parts: list[str]) -> None:
    text = "".join(parts)
    found = plausible.credential_in(text) or plausible.wrapping(text)
    assert (plausible.objection(text) is None) is (found is None)


def test_a_quote_in_base64_of_lower_case_shows() -> None:
    lower = set("abcdefghijklmnopqrstuvwxyz0123456789")
    for one in range(256):
        for other in range(256):
            for three in (bytes((0x22, one, other)), bytes((one, 0x22, other)), bytes((one, other, 0x22))):
                encoded = base64.b64encode(three).decode()
                if set(encoded) <= lower:
                    assert encoded[2] in "cgkosw048", three
                    assert encoded[3] == "i", three


def test_a_plain_value_costs_two_looks() -> None:
    def steps(text: str) -> int:
        return steps_of(lambda: plausible.objection(text))

    assert 3 * steps("https://users-x7f3kq-uc.a.run.app/v2") < steps("https://Users-x7f3kq-uc.a.run.app/v2")


def test_somebody_elses_message_loses_the_value() -> None:
    said = f"Got unexpected extra argument ({KEY})"
    assert "SENTINEL" not in plausible.unechoed(said, ["serve", KEY])
    said = f"Invalid value for '--max': {KEY!r} is wrong"
    assert "SENTINEL" not in plausible.unechoed(said, ["wait", f"--max={KEY}"])
    assert plausible.unechoed("No such command 'serv'.", ["serv"]) == "No such command 'serv'."


def places(kind: object, depth: int = 0) -> Iterator[Any]:
    """What the kind takes, with "HOLE" for one string of it, for every one that there is."""
    match kind:
        case Scalar():
            yield "HOLE"
        case Items():
            yield from ([place] for place in places(kind.item, depth))
        case Section():
            yield from keys(kind.entry, depth)
        case Tagged():
            yield from ("HOLE", {"type": "HOLE"})
            for tag, entry in kind.entries().items() if depth < 2 else ():
                yield from (
                    {"type": tag, **place} for place in keys(entry, depth + 1) if isinstance(place, dict)
                )
        case _:
            pytest.fail(f"{kind} is a kind that this test does not know")


def keys(entry: type[Entry], depth: int) -> Iterator[Any]:
    yield from ("HOLE", {"HOLE": 1})  # in place of the mapping, and as an unknown key
    for name, its in entry.declared.items():
        yield from ({name: place} for place in places(its.kind, depth))


# With a mistake, since the rest may be a configuration by itself, and a secret in a place that may hold one.
EVERYWHERE = [json.dumps(tree | {"mistaken": 1}) for tree in keys(Document, 0) if isinstance(tree, dict)]


def said_of(text: str, variables: dict[str, str]) -> str:
    try:
        settings_from_text(text, "proxy.yaml", variables)
    except ConfigError as error:
        return error.detail
    return ""


@pytest.mark.parametrize("step", and_thoroughly(6, 1))
def test_no_key_of_a_configuration_gives_a_secret_away(step: int) -> None:
    """Every string that the declaration has: a key that is added is tried too. `step`: each secret in every so-manieth place,
    and in each place some secret.
    """
    assert len(EVERYWHERE) > 60
    for number, (name, secret) in enumerate({**SECRETS, **ONLY_PERHAPS}.items()):
        for text in EVERYWHERE[number % step :: step]:
            said = said_of(text.replace('"HOLE"', json.dumps(secret)), {})
            assert said, (name, text)
            assert secret not in said, (name, text)
            assert "SENTINEL" not in said, (name, text)


@for_each("variable", [*OVERRIDES, "X"])
@for_each("secret", SECRETS.values(), ids=SECRETS)
def test_no_variable_gives_a_secret_away(variable: str, secret: str) -> None:
    text = "routes: [{name: a, upstream: 'https://a.run.app', audience: '${X:-https://a.run.app}'}]"
    said = said_of(text, {variable: secret})
    assert said
    assert "SENTINEL" not in said


@for_each("secret", SECRETS.values(), ids=SECRETS)
def test_the_configurations_variable_may_hold_the_configuration(secret: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_settings(secret, {"IDTOKEN_PROXY_CONFIG": secret})
    assert "SENTINEL" not in error.value.detail


def test_text_of_several_lines_in_place_of_a_path_is_not_called_a_credential() -> None:
    told = plausible.path_objection("routes:\n  - name: a\n")
    assert told == "holds text of several lines, as a file does; it must be the path of a file that holds it"
    assert plausible.path_objection('{"client_secret": "x"}\n\n').startswith("holds the credential itself")  # type: ignore[union-attr]
