from __future__ import annotations

import dataclasses

from idtoken_proxy.settings import document, model
from idtoken_proxy.settings.document import Document
from idtoken_proxy.settings.identities import (
    AutoIdentity,
    CommandIdentity,
    ExternalAccountIdentity,
    FileIdentity,
    GcloudIdentity,
    Identity,
    ImpersonatedIdentity,
    MetadataIdentity,
    NoIdentity,
    OauthIdentity,
    ServiceAccountIdentity,
    SignedJwtIdentity,
    UserIdentity,
)
from idtoken_proxy.settings.resolve import resolve
from idtoken_proxy.settings.yaml_lines import read_yaml
from tests.cases import for_each
from tests.settings.told import route, settings, told

RUN_APP = "upstream: 'https://a.a.run.app'"


def test_a_route_alone_takes_every_default_of_the_model() -> None:
    found = settings(f"routes: [{{name: a, {RUN_APP}}}]")
    upstream = model.Upstream("https", "a.a.run.app", 443)
    assert found == model.Settings((model.Route("a", upstream, "https://a.a.run.app"),))


def test_the_metadata_server_s_face_has_the_routes_audiences_unless_it_lists_its_own() -> None:
    routes = """
        routes:
          - {name: a, upstream: 'https://a.a.run.app'}
          - {name: again, upstream: 'https://a.a.run.app', match: {path: /again}}
          - {name: other, upstream: 'https://b.a.run.app', match: {path: /b}, identity: gcloud}
          - {name: api, upstream: 'https://pubsub.googleapis.com', match: {path: /c}}
          - {name: public, upstream: 'https://d.a.run.app', match: {path: /d}, identity: none}
        """
    assert settings(routes).metadata is None
    usual = model.MetadataSettings(audiences=("https://a.a.run.app",))
    assert settings(f"{routes}metadata: {{}}").metadata == usual
    of_gcloud = settings(f"{routes}metadata: {{identity: gcloud, access_tokens: true}}").metadata
    assert of_gcloud is not None
    assert (of_gcloud.identity, of_gcloud.audiences) == (GcloudIdentity(), ("https://b.a.run.app",))
    assert of_gcloud.scopes == model.Scopes()
    listed = settings(f"{routes}metadata: {{audiences: [x, y, x], project_id: my-project-1}}").metadata
    assert listed is not None
    assert (listed.audiences, listed.project_id, listed.scopes) == (("x", "y"), "my-project-1", None)


def test_it_is_a_configuration_by_itself() -> None:
    alone = settings("metadata: {access_tokens: true}")
    assert alone.routes == ()
    assert alone.metadata == model.MetadataSettings(scopes=model.Scopes())
    assert told("listen: localhost:1") == ["proxy.yaml: routes: is missing"]
    assert told("metadata: {}\nroutes: []") != []


def test_the_defaults_in_the_schema_are_the_models() -> None:
    entries = (
        (document.Timeouts, model.Timeouts()),
        (document.Limits, model.Limits()),
        (document.Rewrite, model.Rewrite()),
        (document.Log, model.LogSettings()),
    )
    for entry, defaults in entries:
        assert {name: key.default for name, key in entry.declared.items()} == dataclasses.asdict(defaults)
    assert document.RouteTimeouts.declared.items() < document.Timeouts.declared.items()


def test_everything_said_arrives() -> None:
    found = settings(
        """
        listen: [127.0.0.1:1, '[::1]:2', unix:/run/a.sock]
        admin: off
        allow_remote: true
        identity: {type: metadata, service_account: a@b.iam.gserviceaccount.com}
        routes:
          - name: Profiles_1
            match: {path: /profiles/, host: Profiles.localhost}
            upstream: HTTP://localhost:80/base/
            audience: my-audience
            strip_prefix: true
            token_header: Proxy-Authorization
            methods: [GET, POST, GET]
            timeouts: {response: 60}
        timeouts: {connect: 1s, response: 2m, idle: 1h, header: 500ms, keepalive: 5, drain: "6", lameduck: 7s}
        limits: {header_bytes: 1MiB, connections: 2}
        guard:
          allowed_hosts: [Proxy.internal, '[2001:db8::1]']
          caller_token_file: /run/caller
          caller_token_header: X-Caller
        google:
          token_endpoint: http://localhost:1/token/
          iam_endpoint: http://localhost:2/
          sts_endpoint: https://sts.example.com
          metadata_host: localhost:1
        log: {format: json, level: warning, access: off}
        """
    )
    assert found == model.Settings(
        routes=(
            model.Route(
                "Profiles_1",
                model.Upstream("http", "localhost", 80, "/base"),
                "my-audience",
                MetadataIdentity("a@b.iam.gserviceaccount.com"),
                host="profiles.localhost",
                path="/profiles",
                strip_prefix=True,
                token_header=model.TokenHeader.PROXY_AUTHORIZATION,
                methods=frozenset({"GET", "POST"}),
                timeouts=model.Timeouts(1.0, 60.0, 3600.0, 0.5, 5.0, 6.0, 7.0),
            ),
        ),
        listen=(
            model.TcpAddress("127.0.0.1", 1),
            model.TcpAddress("::1", 2),
            model.UnixAddress("/run/a.sock"),
        ),
        admin=None,
        allow_remote=True,
        timeouts=model.Timeouts(1.0, 120.0, 3600.0, 0.5, 5.0, 6.0, 7.0),
        limits=model.Limits(1024**2, 2),
        guard=model.GuardSettings(
            ("proxy.internal", "[2001:db8::1]"),
            caller_token_file="/run/caller",
            caller_token_header="X-Caller",
        ),
        google=model.GoogleEndpoints(
            "http://localhost:1/token",
            "http://localhost:2",
            "https://sts.example.com",
            metadata_host="localhost:1",
        ),
        log=model.LogSettings("json", "warning", "off"),
    )
    hash(found)


def test_a_routes_own_identity_comes_before_the_default() -> None:
    text = f"identity: none\nroutes: [{{name: a, {RUN_APP}, identity: {{type: file, path: /a.jwt}}}}]"
    assert settings(text).routes[0].identity == FileIdentity("/a.jwt")


def test_a_public_route_has_no_audience_even_where_one_could_be_derived() -> None:
    public = route(f"{RUN_APP}, identity: none")
    assert (public.identity, public.audience) == (NoIdentity(), None)


@for_each(
    ("upstream", "audience"),
    [
        ("https://a.a.run.app/base", "https://a.a.run.app"),
        ("https://us-central1-p.cloudfunctions.net/f/g", "https://us-central1-p.cloudfunctions.net/f"),
        ("http://localhost:8101/base", "http://localhost:8101"),
    ],
)
def test_an_audience_is_derived(upstream: str, audience: str) -> None:
    assert route(f"upstream: '{upstream}'").audience == audience


EGRESS = model.EgressProxy("proxy", 3128)


@for_each(
    ("upstream", "egress"),
    [
        ("https://a.a.run.app", EGRESS),
        ("https://10.1.2.3", EGRESS),
        ("https://localhost.example.com", EGRESS),
        ("https://localhost:8443", None),
        ("https://a.localhost", None),
        ("http://127.0.0.1:8101", None),
        ("https://127.9.9.9:8443", None),
        ("https://[::1]:8443", None),
        ("https://[::ffff:127.0.0.1]:8443", None),
    ],
)
def test_what_is_on_loopback_is_reached_directly(upstream: str, egress: model.EgressProxy | None) -> None:
    found = settings(
        f"routes: [{{name: a, upstream: '{upstream}', audience: a}}]\negress_proxy: http://proxy:3128\n"
    )
    assert found.routes[0].egress_proxy == egress


EMAIL = "a@b.iam.gserviceaccount.com"


@for_each(
    ("form", "identity"),
    [
        ("auto", AutoIdentity()),
        ("none", NoIdentity()),
        ("metadata", MetadataIdentity()),
        ("{type: service_account, key_file: k}", ServiceAccountIdentity("/etc/k")),
        ("{type: file, path: t}", FileIdentity("/etc/t")),
        ("user", UserIdentity()),
        ("{type: oauth, client_file: c, scopes: [email]}", OauthIdentity("/etc/c", ("email",))),
        (f"{{type: gcloud, account: {EMAIL}}}", GcloudIdentity(EMAIL)),
        (
            f"{{type: impersonated, service_account: {EMAIL}, delegates: [c@d.e], source: {{type: service_account, key_file: k}}}}",
            ImpersonatedIdentity(EMAIL, ("c@d.e",), ServiceAccountIdentity("/etc/k")),
        ),
        ("{type: external_account, config_file: c}", ExternalAccountIdentity("/etc/c")),
        ("{type: command, argv: [a, b]}", CommandIdentity(("a", "b"))),
        (
            f"{{type: signed_jwt, service_account: {EMAIL}, source: user}}",
            SignedJwtIdentity(EMAIL, source=UserIdentity()),
        ),
        (f"{{type: signed_jwt, service_account: {EMAIL}, key_file: k}}", SignedJwtIdentity(EMAIL, "/etc/k")),
    ],
)
def test_an_identity_has_its_paths_resolved(form: str, identity: Identity) -> None:
    document = Document.read(read_yaml(f"identity: {form}\nroutes: [{{name: a, {RUN_APP}}}]", str).tree)
    assert resolve(document, lambda path: f"/etc/{path}").routes[0].identity == identity
