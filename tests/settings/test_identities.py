from __future__ import annotations

import pytest

from proxy.settings.identities import BY_TYPE, WORDS
from tests.settings.told import told

ROUTE = "routes: [{name: a, upstream: 'https://a.a.run.app'}]\nidentity: "


@pytest.mark.parametrize(
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
                'external_account, file, command, not "fle"; did you mean "file"?'
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
    ],
)
def test_mistakes(written: str, said: str) -> None:
    assert told(ROUTE + written) == [f"proxy.yaml:2: {said}"]


def test_identities_within_identities_are_checked_too() -> None:
    text = "{type: impersonated, service_account: a@b.c, delegates: [d], source: {type: file, pth: x}}"
    assert told(ROUTE + text)[:2] == [
        'proxy.yaml:2: identity.delegates[0]: must be an email such as NAME@PROJECT.iam.gserviceaccount.com, not "d"',
        'proxy.yaml:2: identity.source.pth: unknown key; did you mean "path"?',
    ]


def test_every_form_is_known_by_its_type_and_words_need_no_more() -> None:
    for kind, form in BY_TYPE.items():
        needed = [key for key, field in form.model_fields.items() if field.is_required()]
        assert form.model_fields["type"].annotation.__args__ == (kind,)  # type: ignore[union-attr]
        assert (kind in WORDS) == (needed == ["type"])
