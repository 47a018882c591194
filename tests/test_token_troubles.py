"""What access tokens and agents meet: cause, remedy, doctor's text and, where no token comes, the 503's body."""

from __future__ import annotations

import json
from typing import Any

import pytest

from idtoken_proxy.admin.report import Verdict
from idtoken_proxy.emulator.consent import CLIENT
from idtoken_proxy.emulator.refusals import (
    UNIQUE_IDENTIFIER,
    ApiRefusal,
    error_info,
    perimeter,
    permission_denied,
)
from idtoken_proxy.emulator.world import agent_id
from idtoken_proxy.identity.error_causes import HOST
from idtoken_proxy.identity.login_store import Login, LoginStore
from idtoken_proxy.settings.identities import (
    FileIdentity,
    GcloudIdentity,
    Identity,
    OauthIdentity,
    UserIdentity,
)
from idtoken_proxy.settings.model import CLOUD_PLATFORM, Scopes
from tests.identity.fakes import jwt
from tests.test_troubles import (
    CHALLENGE,
    LOGIN,
    NUMBER,
    RUN,
    Arrange,
    Scene,
    Town,
    Trouble,
    ca,
    doctors_word,
    filled_in,
    page,
    proxys_word,
    to,
    town,
)

__all__ = ["ca", "town"]  # fixtures

STORAGE = "storage.googleapis.com"
VERTEX = "us-central1-aiplatform.googleapis.com"
READ = "https://www.googleapis.com/auth/devstorage.read_only"
AGENT = agent_id("helper")
PRINCIPAL = f"principal{AGENT.removeprefix('spiffe')}"


def api(host: str = STORAGE, identity: Identity | None = None, *scopes: str, **changes: Any) -> Any:
    wanted = Scopes(scopes) if scopes else Scopes()
    return to(host, identity, audience=None, scopes=wanted, **changes)


# -- no token ------------------------------------------------------------------


def login_for(*scopes: str) -> Arrange:
    def arrange(town: Town) -> Scene:
        path = town.file(town.emulator.key_file("dev"))
        return Scene(api(STORAGE, UserIdentity(), *scopes), {"GOOGLE_APPLICATION_CREDENTIALS": path})

    return arrange


def file_that_holds(content: str | None) -> Arrange:
    def arrange(town: Town) -> Scene:
        path = f"{town.directory}/none" if content is None else town.file(content, "token")
        return Scene(api(STORAGE, FileIdentity(path)))

    return arrange


def own_login(*, revoked: bool) -> Arrange:
    def arrange(town: Town) -> Scene:
        path = town.file(town.emulator.client_file, "client.json")
        store = LoginStore(CLIENT, {"XDG_STATE_HOME": str(town.directory)})
        if revoked:
            store.save(Login("1//revoked", "dev@example.com"))
        return Scene(
            api(STORAGE, OauthIdentity(path, (CLOUD_PLATFORM,))), {"XDG_STATE_HOME": str(town.directory)}
        )

    return arrange


WITHOUT_TOKEN = (
    Trouble(
        "a login of one's own that nobody has made",
        own_login(revoked=False),
        "login_missing",
        (f"nobody has logged in with the OAuth client {CLIENT} on this machine",),
        (f"On {HOST}: idtoken-proxy login",),
    ),
    Trouble(
        "a login of one's own that was revoked, or has ended by policy",
        own_login(revoked=True),
        "login_expired",
        ("login of dev@example.com in DIR/", "it has expired or was revoked"),
        (f"On {HOST}: idtoken-proxy login",),
    ),
    Trouble(
        "a login that was made for other scopes",
        login_for(READ),
        "login_scopes",
        ("DIR/credentials.json", f"it was not made for the scopes {READ}"),
        (f"gcloud auth application-default login --scopes=openid,{CLOUD_PLATFORM},{READ}",),
    ),
    Trouble(
        "scopes of gcloud, which has its own",
        lambda _town: Scene(api(STORAGE, GcloudIdentity(), READ)),
        "scopes_unsupported",
        ("gcloud login", "have the scopes of its login"),
        ("Leave scopes out of the route", f"--scopes=openid,{CLOUD_PLATFORM},{READ}"),
    ),
    Trouble(
        "an access token's file that nobody has written",
        file_that_holds(None),
        "file_missing",
        ("token file DIR/none",),
        ("Write the access token to DIR/none",),
    ),
    Trouble(
        "a file that holds something else",
        file_that_holds("two words"),
        "garbage",
        ("token file DIR/token", "no access token"),
        ("See what it holds or prints",),
    ),
    Trouble(
        "a token that is about to end",
        file_that_holds('{"access_token": "ya29.a", "expires_in": 7}'),
        "short_lived",
        ("token file DIR/token",),
        ("tokens that live longer",),
    ),
)


@pytest.mark.parametrize("trouble", WITHOUT_TOKEN, ids=lambda trouble: trouble.what)
async def test_without_a_token(town: Town, trouble: Trouble) -> None:
    await town.saying(STORAGE, b"")
    scene = await trouble.scene(town)
    report, text = await doctors_word(town, scene)
    [route] = report.routes
    [finding] = route.findings
    assert (finding.verdict, finding.cause) == (Verdict.FAIL, trouble.cause), text
    assert f"scopes:   {scene.route.scopes}" in text
    body = await proxys_word(town, scene)
    assert (body["title"], body["cause"], body["scopes"], body.get("audience")) == (
        "No access token",
        trouble.cause,
        str(scene.route.scopes),
        None,
    )
    assert body["remedy"] == finding.remedy
    for words in filled_in(town, trouble.says + trouble.mends):
        assert words in text
        assert words in f"{body['detail']} {body['remedy']} {body['identity']}"


# -- with one --------------------------------------------------------------------


def answer(refusal: ApiRefusal, *fields: str) -> bytes:
    body = json.dumps(refusal.answer, indent=2).encode()
    lines = "".join(f"{one}\r\n" for one in fields)
    return (
        f"HTTP/1.1 {refusal.code} No\r\nContent-Type: application/json; charset=UTF-8\r\nServer: ESF\r\n{lines}"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def saying(refusal: ApiRefusal, *fields: str, host: str = STORAGE, **changes: Any) -> Arrange:
    async def arrange(town: Town) -> Scene:
        await town.saying(host, answer(refusal, *fields))
        return Scene(api(host, **changes))

    return arrange


def denied(reason: str, message: str = "No.", **metadata: str) -> ApiRefusal:
    return ApiRefusal(403, message, (error_info(reason, "googleapis.com", **metadata),))


def as_agent(status: str) -> Arrange:
    """Whose token a file holds, as a sidecar would write it."""

    async def arrange(town: Town) -> Scene:
        challenge = (CHALLENGE,) if status.startswith("401") else ()
        words = "Your client does not have permission to get URL <code>/</code> from this server."
        host = RUN.replace("profiles", "other")
        await town.saying(host, page(status, words, *challenge))
        claims = {
            "iss": "https://sts.googleapis.com/v1",
            "sub": AGENT,
            "aud": [f"https://{host}"],
            "exp": 4e9,
            "iat": 1,
        }
        path = town.file(jwt({**claims, "exp": 4_000_000_000}), "svid")
        return Scene(to(host, FileIdentity(path)))

    return arrange


GRANT = f"gcloud run services add-iam-policy-binding other --region=europe-west1 --member={PRINCIPAL} --role=roles/run.invoker"
IMPERSONATE = (
    f"gcloud iam service-accounts add-iam-policy-binding EMAIL --member={PRINCIPAL} "
    "--role=roles/iam.serviceAccountOpenIdTokenCreator"
)
REFUSED = (
    Trouble(
        "too few scopes",
        saying(
            denied("ACCESS_TOKEN_SCOPE_INSUFFICIENT"), 'WWW-Authenticate: Bearer error="insufficient_scope"'
        ),
        "token_scopes",
        (LOGIN.email, f"is good for {CLOUD_PLATFORM}, and {STORAGE} wants more"),
        ("In route shop: scopes:", "set-service-account INSTANCE --scopes=cloud-platform"),
    ),
    Trouble(
        "a project that the caller may not charge",
        saying(denied("USER_PROJECT_DENIED", consumer="projects/other-123")),
        "quota_project",
        ("charged to project other-123",),
        (
            f"add-iam-policy-binding other-123 --member=serviceAccount:{LOGIN.email} --role=roles/serviceusage.serviceUsageConsumer",
            "or in route shop: quota_project: PROJECT",
        ),
    ),
    Trouble(
        "an API that is not enabled",
        saying(denied("SERVICE_DISABLED", consumer=f"projects/{NUMBER}"), host=VERTEX),
        "api_disabled",
        (f"{VERTEX} is not enabled in project {NUMBER}",),
        (f"gcloud services enable {VERTEX} --project={NUMBER}",),
    ),
    Trouble(
        "a login that names no project to charge, so that it is gcloud's own",
        saying(
            denied("SERVICE_DISABLED", consumer="projects/764086051850", service=STORAGE),
        ),
        "api_disabled",
        (f"{STORAGE} is not enabled in project 764086051850",),
        ("set-quota-project", "or in route shop: quota_project: PROJECT"),
    ),
    Trouble(
        "a perimeter",
        saying(perimeter(NUMBER)),
        "vpc_service_controls",
        (UNIQUE_IDENTIFIER,),
        ("whoever keeps the perimeter", "no role mends that"),
    ),
    Trouble(
        "a role that is missing",
        saying(permission_denied("storage.objects.get")),
        "missing_permission",
        (
            f"{LOGIN.email} lacks storage.objects.get at {STORAGE}: Permission 'storage.objects.get' denied on resource",
        ),
        (
            f"gcloud projects add-iam-policy-binding shop-prod --member=serviceAccount:{LOGIN.email} --role=ROLE",
        ),
    ),
    Trouble(
        "a token that was revoked",
        saying(
            ApiRefusal(401, "Request had invalid authentication credentials."),
            'WWW-Authenticate: Bearer realm="https://accounts.google.com/", error="invalid_token"',
        ),
        "access_token_refused",
        (f"{STORAGE} does not take the access token of {LOGIN.email}",),
        ("Another one is fetched by itself", "gcloud auth application-default login"),
    ),
    Trouble(
        "an agent that may not invoke a service",
        as_agent("403 Forbidden"),
        "agent_refused",
        (PRINCIPAL, "is no service account"),
        (GRANT, IMPERSONATE, "service_account: EMAIL, source: metadata"),
    ),
    Trouble(
        "an agent whose own token Cloud Run does not take",
        as_agent("401 Unauthorized"),
        "agent_refused",
        (PRINCIPAL, "is no service account"),
        (GRANT, IMPERSONATE),
    ),
)


@pytest.mark.parametrize("trouble", REFUSED, ids=lambda trouble: trouble.what)
async def test_with_a_token(town: Town, trouble: Trouble) -> None:
    report, text = await doctors_word(town, await trouble.scene(town))
    [route] = report.routes
    [finding] = route.findings
    assert (finding.verdict, finding.cause) == (Verdict.FAIL, trouble.cause), text
    for words in filled_in(town, trouble.says + trouble.mends):
        assert words in text
    assert "ya29." not in text
    assert "eyJ" not in text


async def test_what_an_api_says_of_its_first_page_is_no_trouble(town: Town) -> None:
    """Few of Google's APIs have one: 404 is what a good token gets there."""
    await town.saying(STORAGE, answer(ApiRefusal(404, "Not Found")))
    report, text = await doctors_word(town, Scene(api()))
    assert report.all_ok, text
    [route] = report.routes
    assert (route.email, route.by_app, route.status) == (LOGIN.email, True, 404)
