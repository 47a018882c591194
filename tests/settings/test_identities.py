from __future__ import annotations

from idtoken_proxy.identity.sources import AccessTokenSource, build
from idtoken_proxy.settings.identities import BY_TYPE, ENTRIES, sources, words
from idtoken_proxy.settings.model import GoogleEndpoints
from tests.cases import for_each
from tests.settings.forms import form_of, identity
from tests.settings.told import told

ROUTE = "routes: [{name: a, upstream: 'https://a.a.run.app'}]\nidentity: "


@for_each(
    ("written", "said"),
    [
        (
            "gcluod",
            (
                'identity: must be auto, none, metadata, user, gcloud, or a mapping with a type, not "gcluod"; did you mean '
                '"gcloud"?'
            ),
        ),
        ("5", "identity: must be a mapping of keys to values, not 5"),
        ("[auto]", "identity: must be a mapping of keys to values, not a list"),
        ("{}", "identity: says no type; write auto, none, or a mapping such as {type: metadata}"),
        (
            "{type: fle, path: a}",
            (
                "identity.type: must be one of auto, none, metadata, service_account, user, gcloud, oauth, impersonated, "
                'external_account, file, command, signed_jwt, not "fle"; did you mean "file"?'
            ),
        ),
        ("service_account", "identity.key_file: is missing"),
        ("{type: file}", "identity.path: is missing"),
        ("{type: file, path: ''}", 'identity.path: must be printable text, and not empty, not ""'),
        ("{type: file, path: a, pth: b}", 'identity.pth: unknown key; did you mean "path"?'),
        ("{type: auto, service_account: a@b.c}", "identity.service_account: unknown key; known here: type"),
        (
            "{type: metadata, service_account: me}",
            'identity.service_account: must be an email such as NAME@PROJECT.iam.gserviceaccount.com, not "me"',
        ),
        ("{type: impersonated}", "identity.service_account: is missing"),
        (
            "{type: impersonated, service_account: 108234}",
            "identity.service_account: must be a string, not 108234; put it in quotes",
        ),
        (
            "{type: impersonated, service_account: a@b.c, delegates: c@d.e}",
            'identity.delegates: must be a list, not "c@d.e"',
        ),
        ("{type: external_account}", "identity.config_file: is missing"),
        ("{type: gcloud, acount: a@b.c}", 'identity.acount: unknown key; did you mean "account"?'),
        ("{type: user, file: a}", "identity.file: unknown key; known here: type"),
        ("{type: command}", "identity.argv: is missing"),
        ("{type: command, argv: []}", "identity.argv: must not be empty"),
        ("{type: command, argv: a b}", 'identity.argv: must be a list, not "a b"'),
        (
            "{type: command, argv: [a, {audience}]}",
            'identity.argv[1]: must be a string, not a mapping; put it in quotes, as in "{audience}"',
        ),
        ("{type: signed_jwt}", "identity.service_account: is missing"),
        (
            "{type: signed_jwt, service_account: '108234'}",
            'identity.service_account: must be an email such as NAME@PROJECT.iam.gserviceaccount.com, not "108234"',
        ),
    ],
)
def test_mistakes(written: str, said: str) -> None:
    assert told(ROUTE + written) == [f"proxy.yaml:2: {said}"]


def test_identities_within_identities_are_checked_too() -> None:
    text = "{type: impersonated, service_account: a@b.c, delegates: [d], source: {type: gcloud, acount: x}}"
    assert told(ROUTE + text) == [
        'proxy.yaml:2: identity.delegates[0]: must be an email such as NAME@PROJECT.iam.gserviceaccount.com, not "d"',
        'proxy.yaml:2: identity.source.acount: unknown key; did you mean "account"?',
    ]


ASKS = "auto, metadata, service_account, user, gcloud, oauth, impersonated, external_account"


@for_each("form", ["type: impersonated, service_account: a@b.c", "type: signed_jwt, service_account: a@b.c"])
@for_each(
    ("source", "said"),
    [
        ("none", f": none cannot ask for another account's tokens; use {ASKS}"),
        ("{type: none}", f": none cannot ask for another account's tokens; use {ASKS}"),
        ("{type: file, path: a.jwt}", f": file cannot ask for another account's tokens; use {ASKS}"),
        ("{type: command, argv: [a]}", f": command cannot ask for another account's tokens; use {ASKS}"),
        (
            "{type: signed_jwt, service_account: a@b.c}",
            f": signed_jwt cannot ask for another account's tokens; use {ASKS}",
        ),
        ("{type: nobody}", f'.type: must be one of {ASKS}, not "nobody"'),
        ("{type: [a]}", f".type: must be one of {ASKS}, not a list"),
        ("5", ": must be a mapping of keys to values, not 5"),
        (
            "{type: impersonated, service_account: a@b.c, source: none}",
            f".source: none cannot ask for another account's tokens; use {ASKS}",
        ),
    ],
)  # fmt: skip
def test_a_source_is_one_that_can_ask(form: str, source: str, said: str) -> None:
    assert told(f"{ROUTE}{{{form}, source: {source}}}") == [f"proxy.yaml:2: identity.source{said}"]


@for_each("kind", sorted(BY_TYPE))
def test_what_is_declared_is_what_a_file_can_say(kind: str) -> None:
    """The value has the type's class and a field for each key, and it can key a cache."""
    for name in (None, *ENTRIES[kind].declared):
        form = form_of(kind) if name is None else form_of(kind, name)
        found = identity(form)
        assert type(found) is BY_TYPE[kind]
        assert {found: 1}[identity(form)] == 1
        assert name is None or getattr(found, name) is not None


@for_each("kind", sorted(set(BY_TYPE) - {"none"}))
def test_each_has_a_source_that_can_ask_for_another_s_tokens_if_it_says_so(kind: str) -> None:
    source = build(identity(form_of(kind)), GoogleEndpoints(), {})
    assert isinstance(source, AccessTokenSource) == BY_TYPE[kind].asks == (kind in sources())


def test_words_need_no_more() -> None:
    assert {kind for kind in BY_TYPE if form_of(kind) == {"type": kind}} == set(words())
    for word in words():
        assert identity(word) == identity({"type": word})
