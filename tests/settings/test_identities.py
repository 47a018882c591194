from __future__ import annotations

from idtoken_proxy.identity.sources import AccessTokenSource, build
from idtoken_proxy.settings.identities import BY_TYPE, SOURCES, WORDS
from idtoken_proxy.settings.model import GoogleEndpoints
from tests.cases import for_each
from tests.settings.told import settings, told

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
                "identity.type: must be one of auto, none, metadata, service_account, user, gcloud, impersonated, "
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


ASKS = "auto, metadata, service_account, user, gcloud, impersonated, external_account"


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


def test_the_sources_are_those_that_have_access_tokens() -> None:
    """As far as they can be built from their type alone."""
    for kind in BY_TYPE:
        if kind == "none":
            continue
        identity = settings(ROUTE + FORMS[kind]).routes[0].identity
        source = build(identity, GoogleEndpoints(), {})
        assert isinstance(source, AccessTokenSource) == (kind in SOURCES)


FORMS = {
    "auto": "auto",
    "metadata": "metadata",
    "user": "user",
    "gcloud": "gcloud",
    "service_account": "{type: service_account, key_file: a.json}",
    "impersonated": "{type: impersonated, service_account: '108234', delegates: [a@b.c]}",
    "external_account": "{type: external_account, config_file: a.json, service_account: a@b.c}",
    "file": "{type: file, path: a.jwt}",
    "command": "{type: command, argv: [print-token, --audience, '{audience}']}",
    "signed_jwt": "{type: signed_jwt, service_account: a@b.c}",
}


def test_every_form_is_known_by_its_type_and_words_need_no_more() -> None:
    for kind, form in BY_TYPE.items():
        needed = [name for name, key in form.declared.items() if key.required]
        assert form.tag == kind
        assert (kind in WORDS) == (needed == [])
