"""Which kind of token goes where: an access token never to a host that is not Google's, unless that is stated by name."""

from __future__ import annotations

from idtoken_proxy.settings.identities import BY_TYPE
from idtoken_proxy.settings.model import CLOUD_PLATFORM, Scopes
from tests.cases import for_each
from tests.settings.forms import form_of
from tests.settings.told import route, settings, told

STORAGE = "upstream: 'https://storage.googleapis.com'"
RUN = "upstream: 'https://a.a.run.app'"
OWN = "upstream: 'https://mcp.example.com'"


def routed(text: str, more: str = "") -> str:
    return f"routes:\n- name: a\n  {text}\n{more}"


@for_each(
    "upstream",
    [
        "https://storage.googleapis.com",
        "https://us-central1-aiplatform.googleapis.com/v1",
        "https://europe-west1-python.pkg.dev/p/r/simple",
    ],
)
def test_google_s_own_hosts_take_access_tokens(upstream: str) -> None:
    found = route(f"upstream: '{upstream}'")
    assert (found.scopes, found.audience, found.wanted) == (Scopes(), None, Scopes((CLOUD_PLATFORM,)))


@for_each(
    "upstream",
    [
        "https://a.a.run.app",
        "https://us-central1-p.cloudfunctions.net/f",
        "http://localhost:8101",
    ],
)
def test_all_others_get_id_tokens(upstream: str) -> None:
    found = route(f"upstream: '{upstream}'")
    assert found.scopes is None
    assert found.wanted == found.audience


def test_what_may_be_said_of_an_access_token() -> None:
    found = route(
        f"{STORAGE}, scopes: ['https://www.googleapis.com/auth/devstorage.read_only', email, email], quota_project: my-project"
    )
    assert found.scopes == Scopes(("https://www.googleapis.com/auth/devstorage.read_only", "email"))
    assert str(found.scopes) == "https://www.googleapis.com/auth/devstorage.read_only email"
    assert found.quota_project == "my-project"


def test_loopback_may_have_one_where_that_is_said() -> None:
    assert route("upstream: 'http://localhost:1', token: access").scopes == Scopes()


@for_each("host", ["mcp.example.com", "storage.googleapis.com.example.com", "googleapis.com", "a.a.run.app"])
def test_no_access_token_goes_to_another_host(host: str) -> None:
    (mistake,) = told(routed(f"upstream: 'https://{host}'\n  token: access"))
    assert mistake == (
        f"proxy.yaml:4: routes[0].token: would hand {host} an access token, with which whoever holds it can call Google's "
        "APIs as this identity; a service of your own takes an ID token (token: id, the default). Where it is to have an "
        f"access token all the same, state it: google: {{access_token_hosts: [{host}]}}"
    )
    stated = settings(
        routed(
            f"upstream: 'https://{host}'\n  token: access",
            f"google: {{access_token_hosts: [{host.upper()}]}}",
        )
    )
    assert stated.routes[0].scopes == Scopes()


def test_a_statement_is_of_one_host_and_of_none_below() -> None:
    text = routed(
        "upstream: 'https://a.example.com'\n  token: access", "google: {access_token_hosts: [example.com]}"
    )
    assert len(told(text)) == 1


@for_each(
    ("text", "said"),
    [
        (
            f"{STORAGE}\n  audience: x",
            (
                "audience: has no use at storage.googleapis.com, which takes access tokens, and those have no audience; "
                "remove it, or say token: id"
            ),
        ),
        (
            f"{STORAGE}\n  token: access\n  audience: x",
            "audience: has no use beside token: access, since access tokens have none; remove one of the two",
        ),
        (
            f"{STORAGE}\n  token_header: X-Serverless-Authorization",
            "token_header: is not where Google's APIs look for an access token: they read Authorization alone; remove it",
        ),
        (
            f"{RUN}\n  scopes: [{CLOUD_PLATFORM}]",
            "scopes: is about access tokens, and this route sends an ID token; say token: access too, or remove it",
        ),
        (
            f"{RUN}\n  quota_project: my-project",
            "quota_project: is about access tokens, and this route sends an ID token; say token: access too, or remove it",
        ),
        (
            f"{STORAGE}\n  scopes: [cloud-platform]",
            (
                'scopes[0]: must be a scope such as https://www.googleapis.com/auth/cloud-platform, not "cloud-platform"; '
                "write https://www.googleapis.com/auth/cloud-platform"
            ),
        ),
        (
            f"{STORAGE}\n  scopes: ['https://a,https://b']",
            (
                'scopes[0]: must be a scope such as https://www.googleapis.com/auth/cloud-platform, not "https://a,https://b"; '
                "write one for each item"
            ),
        ),
        (f"{STORAGE}\n  scopes: []", "scopes: must not be empty"),
        (
            f"{STORAGE}\n  quota_project: A B",
            "quota_project: is no project's ID or number; write one such as my-project-123",
        ),
        (
            f"{STORAGE}\n  identity: none\n  token: access",
            "token: has no use on a public route (identity: none), which gets no token; remove one of the two",
        ),
        (
            f"{STORAGE}\n  token: acess",
            'token: must be one of id, access, not "acess"; did you mean "access"?',
        ),
    ],
)
def test_mistakes(text: str, said: str) -> None:
    (mistake,) = told(routed(text))
    assert mistake.partition(".")[2].partition(".")[2] == said or mistake.endswith(said)


def test_an_id_token_can_be_asked_for_all_the_same() -> None:
    found = route(f"{STORAGE}, token: id, audience: x")
    assert (found.audience, found.scopes) == ("x", None)


@for_each("kind", sorted(set(BY_TYPE) - {"none"}))
def test_every_identity_has_access_tokens_or_says_who_has(kind: str) -> None:
    import json  # noqa: PLC0415

    text = json.dumps(
        {
            "routes": [
                {
                    "name": "a",
                    "upstream": "https://storage.googleapis.com",
                    "identity": form_of(kind),
                    "scopes": ["email"],
                }
            ]
        }
    )
    mistakes = told(text)
    if BY_TYPE[kind].has_access_tokens:
        assert mistakes == []
    else:
        able = ", ".join(one for one, declared in BY_TYPE.items() if declared.has_access_tokens)
        assert mistakes == [
            f"proxy.yaml:1: routes[0].upstream: takes an access token, and an identity of type {kind} has none; use {able}"
        ]


def test_the_variable_names_the_project_where_no_route_does() -> None:
    from idtoken_proxy.settings.load import settings_from_text  # noqa: PLC0415

    text = f"routes: [{{name: a, {STORAGE}}}, {{name: b, {STORAGE}, match: {{path: /b}}, quota_project: own-project}}]"
    environ = {"GOOGLE_CLOUD_QUOTA_PROJECT": "the-variable"}
    found = settings_from_text(text, "proxy.yaml", environ)
    assert [one.quota_project for one in found.routes] == ["the-variable", "own-project"]
    plain = settings_from_text(
        f"routes: [{{name: a, {RUN}}}]", "proxy.yaml", {"GOOGLE_CLOUD_QUOTA_PROJECT": "A B"}
    )
    assert plain.routes[0].quota_project is None


SOVEREIGN = "google: {universe_domain: s3nsapis.fr}"


def test_another_universe_has_hosts_of_its_own() -> None:
    api, run, tagged = (
        settings(routed(f"upstream: 'https://{host}'", SOVEREIGN)).routes[0]
        for host in (
            "storage.s3nsapis.fr",
            "a-12.u-france-east1.s3nsrun.fr",
            "tag---a-12.u-france-east1.s3nsrun.fr",
        )
    )
    assert (api.scopes, api.audience) == (Scopes(), None)
    assert run.audience == tagged.audience == "https://a-12.u-france-east1.s3nsrun.fr"
    assert (
        len(told(routed("upstream: 'https://a.s3nsrun.fr'"))) == 1
    )  # which nothing is known of in Google's own
    assert told(routed("upstream: 'https://a.run.app'", SOVEREIGN)) == []


@for_each(
    "domain",
    [
        "com",
        "run.app",
        "10.0.0.1",
        "co.uk",
        "web.app",
        "github.io",
        "apis",
        "example.apis.com",
        "is-a-therapist.com",
    ],
)
def test_no_hosts_of_others_are_a_universe(domain: str) -> None:
    """Whatever is under it would be handed access tokens without being asked for."""
    (said,) = told(routed("upstream: 'https://a.run.app'", f"google: {{universe_domain: {domain}}}"))
    assert "any host under it would be handed access tokens" in said


@for_each("domain", ["googleapis.com", "s3nsapis.fr", "apis-berlin-build0.goog", "S3NSapis.fr"])
def test_those_that_are_known_are_universes(domain: str) -> None:
    """https://github.com/googleapis/google-auth-library-python, and what Google's partners document."""
    assert told(routed("upstream: 'https://a.run.app'", f"google: {{universe_domain: {domain}}}")) == []


OAUTH = "identity: {type: oauth, client_file: c.json"


def test_a_login_asks_beforehand_for_what_its_routes_want() -> None:
    assert told(routed(f"{STORAGE}\n  {OAUTH}}}")) == [
        (
            f"proxy.yaml:3: routes[0].upstream: takes an access token for {CLOUD_PLATFORM}, which the login does not ask for; add "
            "that to the scopes of its identity, and log in anew: idtoken-proxy login"
        )
    ]
    assert told(routed(f"{STORAGE}\n  {OAUTH}, scopes: ['{CLOUD_PLATFORM}']}}")) == []
    assert told(routed(f"{STORAGE}\n  scopes: [email]\n  {OAUTH}}}")) == []
    assert told(routed(f"{RUN}\n  {OAUTH}}}")) == []
