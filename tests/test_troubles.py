"""The ways in which this goes wrong in real life, one row each: what `doctor` says, and, where there is no token to be
had, what the 503 says. Each names the route, the audience, the identity, the cause, and the command that mends it with
the user's own names in it.

Google's issuers and front ends are the emulator's; receivers have their real names and TLS: the event loop resolves
those names to a relay that ends TLS before the emulator, as Google's front end does before a container.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from pathlib import Path
from time import time
from typing import Any

import aiohttp
import pytest
import trustme

from idtoken_proxy.admin.doctor import examine
from idtoken_proxy.admin.report import Report, Verdict, as_json, as_text
from idtoken_proxy.emulator import Emulator
from idtoken_proxy.emulator.key_files import key_file
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.refusals import UNIQUE_IDENTIFIER
from idtoken_proxy.emulator.world import DEMO, Account, Iap, Service, World, service_account_email
from idtoken_proxy.server import Server
from idtoken_proxy.settings.command_line import CommandLine
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
    ServiceAccountIdentity,
    SignedJwtIdentity,
    UserIdentity,
)
from idtoken_proxy.settings.load import settings_from_options
from idtoken_proxy.settings.model import (
    GoogleEndpoints,
    Route,
    Settings,
    TcpAddress,
    Timeouts,
    TokenHeader,
    Upstream,
)

PROJECT = "shop-prod"
LOGIN = Account(service_account_email("login", PROJECT), default=True, token_creators=frozenset())
BATCH = Account(
    service_account_email("batch", PROJECT), token_creators=frozenset({"user:dev@example.com", LOGIN.member})
)
DEV = Account("dev@example.com")

RUN = "profiles-123456789012.europe-west1.run.app"  # by number
HASH = "search-x7f3kq2abc-uc.a.run.app"
CUSTOM = "profiles.shop.example"
IAP = "intranet-123456789012.us-east4.run.app"
IAP_CLIENT = "555-abc.apps.googleusercontent.com"
MANAGED = "console-123456789012.us-east4.run.app"
FUNCTION = "us-central1-shop-prod.cloudfunctions.net"
UNTRUSTED = "untrusted-123456789012.us-east4.run.app"
NUMBER = DEMO.number
PERIMETER = (
    f"Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: {UNIQUE_IDENTIFIER}"
)
ONE_REGISTERED = "https://registered.shop.example"

WORLD = World(
    project=PROJECT,
    accounts=(LOGIN, BATCH, DEV),
    services=(
        Service(
            "profiles", frozenset({LOGIN.member, BATCH.member}), audiences=(f"https://{RUN}", ONE_REGISTERED)
        ),
        Service("search", frozenset(), audiences=(f"https://{HASH}",)),
        Service("intranet", frozenset({BATCH.member}), iap=Iap(IAP_CLIENT)),
        Service("console", frozenset({BATCH.member}), iap=Iap()),
    ),
    providers=DEMO.providers,
)
SERVED = {RUN: "profiles", CUSTOM: "profiles", HASH: "search", IAP: "intranet", MANAGED: "console"}


def page(status: str, words: str, *fields: str) -> bytes:
    """What the front end says, of which the emulator has no receiver."""
    body = f"<html><body>\n<h1>Error: {words}</h1>\n</body></html>\n".encode()
    lines = "".join(f"{one}\r\n" for one in fields)
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=UTF-8\r\nServer: Google Frontend\r\n{lines}"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


CHALLENGE = (
    'WWW-Authenticate: Bearer error="invalid_token" '
    'error_description="The access token could not be verified"'
)


# -- where it takes place ------------------------------------------------------


@dataclass
class Town:
    """Google, the receivers, and a directory for files."""

    emulator: Emulator
    keys: Keys
    directory: Path
    ca_file: str
    ports: dict[str, int]  # by host name
    stack: AsyncExitStack
    ca: trustme.CA

    @property
    def google(self) -> GoogleEndpoints:
        return GoogleEndpoints(
            token_endpoint=self.emulator.token_endpoint,
            iam_endpoint=self.emulator.iam_endpoint,
            sts_endpoint=self.emulator.sts_endpoint,
            metadata_host=self.emulator.metadata_host,
        )

    def file(self, content: object, name: str = "credentials.json") -> str:
        path = self.directory / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    async def saying(self, host: str, answer: bytes) -> None:
        """From now on `host` answers so to everything; b"" breaks off."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
                await writer.drain()
            writer.close()

        await self.listen(host, serve)

    async def listen(self, host: str, serve: Callable[..., Awaitable[None]], *, trusted: bool = True) -> None:
        context = _server_tls(self.ca if trusted else trustme.CA(), host)
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        self.stack.push_async_callback(_closed, server)
        self.ports[host] = server.sockets[0].getsockname()[1]


async def _closed(server: asyncio.Server) -> None:
    server.close()


def _server_tls(ca: trustme.CA, host: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(host).configure_cert(context)
    return context


def relay_to(url: str, host: str) -> Callable[..., Awaitable[None]]:
    """One request, with the name that the emulator's receiver goes by."""
    authority = url.partition("://")[2].partition("/")[0]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address, _, port = authority.partition(":")
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            behind, onward = await asyncio.open_connection(address, int(port))
            onward.write(head.replace(f"Host: {host}".encode(), f"Host: {authority}".encode()))
            writer.write(await behind.read())
            await writer.drain()
            onward.close()
        writer.close()

    return serve


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def town(
    keys: Keys, ca: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Town]:
    ca_file = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(ca_file))
    loop = asyncio.get_running_loop()
    ports: dict[str, int] = {}

    async def resolve(host: str, port: int, **options: Any) -> list[Any]:
        if host in ports:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", ports[host]))]
        if host == "127.0.0.1":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(loop, "getaddrinfo", resolve)
    async with AsyncExitStack() as stack:
        emulator = await stack.enter_async_context(Emulator(WORLD, keys=keys))
        made = Town(emulator, keys, tmp_path, str(ca_file), ports, stack, ca)
        for host, service in SERVED.items():
            await made.listen(host, relay_to(emulator.urls[service], host))
        yield made


@dataclass(frozen=True)
class Scene:
    """A route, and what is around it."""

    route: Route
    environ: dict[str, str] = field(default_factory=dict)
    google: GoogleEndpoints | None = None


def to(host: str, identity: Identity | None = None, *, name: str = "shop", **changes: Any) -> Route:
    return Route(
        **{
            "name": name,
            "upstream": Upstream("https", host, 443),
            "audience": f"https://{host}",
            "identity": MetadataIdentity() if identity is None else identity,
            "timeouts": Timeouts(connect=2.0, response=2.0),
            **changes,
        }
    )


def settings_of(town: Town, scene: Scene, **changes: Any) -> Settings:
    return Settings(
        **{
            "routes": (scene.route,),
            "listen": (TcpAddress("127.0.0.1", 0),),
            "admin": None,
            "google": scene.google or town.google,
            "ca_file": town.ca_file,
            **changes,
        }
    )


async def doctors_word(town: Town, scene: Scene) -> tuple[Report, str]:
    environ = {"HOME": str(town.directory), **scene.environ}
    report = await examine(settings_of(town, scene), environ)
    json.loads(as_json(report))
    return report, "\n".join(as_text(report, colors=False))


async def proxys_word(town: Town, scene: Scene) -> dict[str, Any]:
    """The 503's body."""
    environ = {"HOME": str(town.directory), **scene.environ}
    server = Server(settings_of(town, scene), environ)
    await server.start()
    try:
        async with aiohttp.ClientSession() as client:
            url = f"http://127.0.0.1:{server.addresses[0].port}/x?secret=1"
            async with client.get(url) as answer:
                assert answer.status == 503
                assert answer.content_type == "application/problem+json"
                assert int(answer.headers["Retry-After"]) >= 1
                body: dict[str, Any] = await answer.json()
                return body
    finally:
        await server.stop(drain=0)


Arrange = Callable[[Town], Scene | Awaitable[Scene]]


@dataclass(frozen=True)
class Trouble:
    """`says`: what the text names of the identity and of the trouble; `mends`: the commands or the lines."""

    what: str
    arrange: Arrange
    cause: str
    says: tuple[str, ...]
    mends: tuple[str, ...]
    verdict: Verdict = Verdict.FAIL

    async def scene(self, town: Town) -> Scene:
        made = self.arrange(town)
        return made if isinstance(made, Scene) else await made


def filled_in(town: Town, texts: tuple[str, ...]) -> list[str]:
    return [text.replace("DIR", str(town.directory)) for text in texts]


# -- no token ------------------------------------------------------------------


def auto_with(content: Callable[[Town], object], broken: str | None = None, **environ: str) -> Arrange:
    """GOOGLE_APPLICATION_CREDENTIALS names a file that holds this."""

    def arrange(town: Town) -> Scene:
        path = town.file(content(town))
        if broken is not None:
            town.emulator.break_with(broken)
        return Scene(to(RUN, AutoIdentity()), {"GOOGLE_APPLICATION_CREDENTIALS": path, **environ})

    return arrange


def metadata_with(broken: str, identity: Identity | None = None) -> Arrange:
    def arrange(town: Town) -> Scene:
        town.emulator.break_with(broken)
        return Scene(to(RUN, identity))

    return arrange


def nowhere(town: Town, identity: Identity | None = None) -> Scene:
    """A laptop, before anything is set up. Port 1 stands for the name that is not there."""
    return Scene(
        to(RUN, identity or AutoIdentity()), google=replace(town.google, metadata_host="127.0.0.1:1")
    )


def impersonating(target: str, broken: str | None = None) -> Arrange:
    """As the developer."""
    content: Callable[[Town], object] = lambda town: town.emulator.key_file("dev")  # noqa: E731

    def arrange(town: Town) -> Scene:
        path = town.file(content(town))
        if broken is not None:
            town.emulator.break_with(broken)
        identity = ImpersonatedIdentity(service_account_email(target, PROJECT))
        return Scene(to(RUN, identity), {"GOOGLE_APPLICATION_CREDENTIALS": path})

    return arrange


def key_that_was_deleted(town: Town) -> object:
    return key_file(LOGIN, WORLD, Keys(), town.emulator.token_endpoint)


def endpoint_is_away(town: Town) -> Scene:
    identity = ServiceAccountIdentity(town.file(town.emulator.key_file("login")))
    return Scene(to(RUN, identity), google=replace(town.google, token_endpoint="http://127.0.0.1:1/token"))


def token_file_of(content: Callable[[Town], str]) -> Arrange:
    return lambda town: Scene(to(RUN, FileIdentity(town.file(content(town), "token"))))


def expired(town: Town) -> str:
    town.emulator.break_with("expired")
    return town.emulator.mint("login", f"https://{RUN}")


def no_such_command(town: Town) -> Scene:
    return Scene(to(RUN, CommandIdentity((f"{town.directory}/print-token",))))


def executable_with(answer: object, code: int = 0) -> Arrange:
    """A credential file's executable, which prints this and ends so."""

    def arrange(town: Town) -> Scene:
        program = Path(
            town.file(f"#!/bin/sh\ncat {town.file(answer, 'answer')}\nexit {code}\n", "print-token")
        )
        program.chmod(0o700)
        content = town.emulator.external_account("github", "executable", at=str(program), impersonate="batch")
        identity = ExternalAccountIdentity(town.file(content))
        environ = {"GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES": "1", "PATH": "/usr/bin:/bin"}
        return Scene(to(RUN, identity), environ)

    return arrange


def on_aws(**environ: str) -> Arrange:
    """Away from an instance: its metadata service is not there."""

    def arrange(town: Town) -> Scene:
        content = dict(town.emulator.external_account("github", "url", impersonate="batch"))
        content["subject_token_type"] = "urn:ietf:params:aws:token-type:aws4_request"
        content["credential_source"] = {
            "environment_id": "aws1",
            "url": "http://127.0.0.1:1/latest/meta-data/iam/security-credentials",
            "regional_cred_verification_url": "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity",
        }
        path = town.file(content)
        return Scene(to(RUN, ExternalAccountIdentity(path)), {"AWS_REGION": "eu-west-1", **environ})

    return arrange


def failing_command(_town: Town) -> Scene:
    return Scene(to(RUN, CommandIdentity(("false",))), {"PATH": "/usr/bin:/bin"})


def federated(**parts: Any) -> Callable[[Town], object]:
    return lambda town: town.emulator.external_account(
        parts["provider"], parts["kind"], impersonate=parts["as_"]
    )


BATCH_EMAIL, LOGIN_EMAIL = BATCH.email, LOGIN.email
LOGIN_AGAIN = "gcloud auth application-default login"

WITHOUT_TOKEN = (
    Trouble(
        "a laptop without any credentials",
        nowhere,
        "metadata_unreachable",
        ("GOOGLE_APPLICATION_CREDENTIALS is not set", "metadata server"),
        (f"{LOGIN_AGAIN}; ", "set GOOGLE_APPLICATION_CREDENTIALS", "idtoken-proxy emulate"),
    ),
    Trouble(
        "a laptop, where the identity is the metadata server's",
        lambda town: nowhere(town, MetadataIdentity()),
        "metadata_unreachable",
        ("the metadata server at 127.0.0.1:1 cannot be reached",),
        ("Only Google Cloud has one.", f"identity: auto, after {LOGIN_AGAIN}"),
    ),
    Trouble(
        "GOOGLE_APPLICATION_CREDENTIALS names a file that is not there",
        lambda town: Scene(
            to(RUN, AutoIdentity()), {"GOOGLE_APPLICATION_CREDENTIALS": f"{town.directory}/gone.json"}
        ),
        "credential_file_missing",
        ("DIR/gone.json", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("gcloud iam service-accounts keys create DIR/gone.json --iam-account=EMAIL",),
    ),
    Trouble(
        "a corrupt key file: never a reason to go on to the metadata server",
        auto_with(lambda _: '{"type": "service_account", "private_key": "-----BEG'),
        "credential_file_invalid",
        ("DIR/credentials.json", "is not JSON"),
        ("gcloud iam service-accounts keys create DIR/credentials.json",),
    ),
    Trouble(
        "a credential of a kind that has no ID tokens",
        auto_with(lambda _: {"type": "gdch_service_account"}),
        "credential_file_invalid",
        ("DIR/credentials.json", "gdch_service_account"),
        ("gcloud iam service-accounts keys create DIR/credentials.json",),
    ),
    Trouble(
        "a key that was deleted",
        auto_with(key_that_was_deleted),
        "invalid_grant",
        ("DIR/credentials.json", LOGIN_EMAIL),
        (f"gcloud iam service-accounts keys list --iam-account={LOGIN_EMAIL}",),
    ),
    Trouble(
        "a service account that was deleted",
        auto_with(lambda town: town.emulator.key_file("login"), "account-not-found"),
        "account_not_found",
        ("DIR/credentials.json", LOGIN_EMAIL, "account not found"),
        (f"{LOGIN_EMAIL} was deleted: make another service account",),
    ),
    Trouble(
        "a wrong clock, and a key",
        auto_with(lambda town: town.emulator.key_file("login"), "clock-ahead"),
        "clock_skew",
        ("DIR/credentials.json", LOGIN_EMAIL, "reasonable timeframe"),
        ("timedatectl set-ntp true",),
    ),
    Trouble(
        "a wrong clock, and the metadata server",
        metadata_with("clock-behind"),
        "expired",
        ("metadata server", "expired"),
        ("date -u",),
    ),
    Trouble(
        "a login that was revoked",
        auto_with(lambda town: town.emulator.key_file("dev"), "login-expired"),
        "login_expired",
        ("DIR/credentials.json", "login", "expired or was revoked"),
        (LOGIN_AGAIN,),
    ),
    Trouble(
        "an organisation that wants a login a day",
        auto_with(lambda town: town.emulator.key_file("dev"), "login-again"),
        "login_required",
        ("DIR/credentials.json", "the organisation asks for a new login"),
        (LOGIN_AGAIN,),
    ),
    Trouble(
        "no right to impersonate",
        impersonating("login"),
        "iam_permission_denied",
        (LOGIN_EMAIL, "DIR/credentials.json"),
        (
            (
                f"gcloud iam service-accounts add-iam-policy-binding {LOGIN_EMAIL} "
                "--member=user:dev@example.com --role=roles/iam.serviceAccountOpenIdTokenCreator"
            ),
        ),
    ),
    Trouble(
        "the IAM Credentials API is not enabled",
        impersonating("batch", "api-disabled"),
        "iam_api_disabled",
        (BATCH_EMAIL, "DIR/credentials.json"),
        ("gcloud services enable iamcredentials.googleapis.com --project=",),
    ),
    Trouble(
        "a target of impersonation that does not exist",
        impersonating("bacth"),
        "iam_no_such_account",
        ("bacth@shop-prod.iam.gserviceaccount.com", "DIR/credentials.json"),
        ("gcloud iam service-accounts list --project=shop-prod",),
    ),
    Trouble(
        "a workload identity pool that is gone",
        auto_with(federated(provider="github", kind="url", as_="batch"), "pool-gone"),
        "sts_refused",
        ("STS refused", "127.0.0.1"),
        ("gcloud iam workload-identity-pools providers describe github", "--workload-identity-pool=outside"),
    ),
    Trouble(
        "federation without a service account",
        auto_with(federated(provider="github", kind="url", as_=None)),
        "federation_without_account",
        ("DIR/credentials.json", "no service account"),
        ("identity: {type: external_account, config_file: DIR/credentials.json, service_account: EMAIL}",),
    ),
    Trouble(
        "a federated workload that may not be the account",
        auto_with(federated(provider="github", kind="url", as_="batch")),
        "iam_permission_denied",
        (BATCH_EMAIL, "DIR/credentials.json"),
        (
            f"gcloud iam service-accounts add-iam-policy-binding {BATCH_EMAIL}",
            "--role=roles/iam.workloadIdentityUser",
            "/workloadIdentityPools/outside/*",
        ),
    ),
    Trouble(
        "a VPC Service Controls perimeter around IAM",
        impersonating("batch", "perimeter"),
        "vpc_service_controls",
        (UNIQUE_IDENTIFIER, "does not let dev@example.com through", "no role mends that"),
        (f"""vpcServiceControlsUniqueId="{UNIQUE_IDENTIFIER}"' --project={NUMBER}""",),
    ),
    Trouble(
        "a quota project that the caller may not use",
        impersonating("batch", "quota-project"),
        "quota_project",
        (f"charged to project {NUMBER}",),
        (
            (
                f"gcloud projects add-iam-policy-binding {NUMBER} --member=user:dev@example.com "
                "--role=roles/serviceusage.serviceUsageConsumer"
            ),
            "gcloud auth application-default set-quota-project shop-prod",
        ),
    ),
    Trouble(
        "an organization's policy against impersonation",
        impersonating("batch", "org-policy"),
        "organization_policy",
        ("constraints/iam.disableCrossProjectServiceAccountUsage",),
        (
            (
                "gcloud org-policies describe iam.disableCrossProjectServiceAccountUsage --effective "
                "--project=shop-prod"
            ),
        ),
    ),
    Trouble(
        "a project that Google has suspended",
        impersonating("batch", "project-suspended"),
        "project_suspended",
        ("has been suspended",),
        (f"gcloud projects describe {NUMBER}",),
    ),
    Trouble(
        "executables of a federation that nobody allowed",
        auto_with(federated(provider="github", kind="executable", as_="batch")),
        "executables_not_allowed",
        ("DIR/credentials.json", "executable"),
        ("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES=1",),
    ),
    Trouble(
        "a subject token that is not there",
        lambda town: Scene(
            to(
                RUN,
                ExternalAccountIdentity(
                    town.file(
                        town.emulator.external_account("github", "file", at=f"{town.directory}/subject")
                    ),
                    BATCH_EMAIL,
                ),
            )
        ),
        "subject_token",
        ("DIR/subject", "does not exist"),
        ("See that the file DIR/subject gives this workload a token",),
    ),
    Trouble(
        "an executable that fails",
        executable_with("SENTINEL=1", 3),
        "executable_failed",
        ("the executable DIR/print-token failed (exit code 3)",),
        ("See what it says: GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE=",),
    ),
    Trouble(
        "an executable that says no itself",
        executable_with({"version": 1, "success": False, "code": "401", "message": "Caller not authorized."}),
        "executable_refused",
        ("says that it has no token (401: Caller not authorized.)",),
        ("It is the executable that refuses, not Google",),
    ),
    Trouble(
        "an executable of another version",
        executable_with({"version": 2, "success": True, "id_token": "SENTINEL=1"}),
        "executable_output",
        ("is of version 2, of which nothing is known here",),
        ("https://google.aip.dev/auth/4117",),
    ),
    Trouble(
        "a pod of EKS Pod Identity whose role cannot be had",
        on_aws(AWS_CONTAINER_CREDENTIALS_FULL_URI="http://127.0.0.1:1/v1/credentials"),
        "aws_credentials",
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI is set (EKS Pod Identity)", "127.0.0.1:1 cannot be reached"),
        ("aws eks list-pod-identity-associations",),
    ),
    Trouble(
        "a pod on EKS without its role",
        on_aws(AWS_WEB_IDENTITY_TOKEN_FILE="/var/run/secrets/eks.amazonaws.com/serviceaccount/token"),
        "aws_credentials",
        ("AWS_WEB_IDENTITY_TOKEN_FILE is set (EKS: IRSA) and AWS_ROLE_ARN is not",),
        ("eks.amazonaws.com/role-arn=ARN",),
    ),
    Trouble(
        "AWS without any role",
        on_aws(),
        "aws_credentials",
        ("127.0.0.1:1 cannot be reached",),
        ("none of them is set here", "AWS_ACCESS_KEY_ID"),
    ),
    Trouble(
        "Cloud Build, whose metadata server has no ID tokens",
        metadata_with("cloud-build"),
        "metadata_without_identity",
        (LOGIN_EMAIL, "hands out no ID tokens, as on Cloud Build"),
        ("identity: {type: impersonated", "source: metadata}"),
    ),
    Trouble(
        "a pod whose account is not annotated",
        metadata_with("gke-not-annotated"),
        "gke_not_annotated",
        ("default/app names no Google service account",),
        ("kubectl annotate serviceaccount app --namespace default",),
    ),
    Trouble(
        "a pod whose account is not bound",
        metadata_with("gke-not-bound"),
        "gke_not_bound",
        ("IAM returned 403",),
        ("--role=roles/iam.workloadIdentityUser",),
    ),
    Trouble(
        "a laptop where another web server has the metadata server's address",
        metadata_with("metadata-foreign", AutoIdentity()),
        "metadata_foreign",
        ("no credentials found", "status 404, without Metadata-Flavor: Google"),
        (f"{LOGIN_AGAIN}; ",),
    ),
    Trouble(
        "no gcloud on this machine",
        lambda town: Scene(to(RUN, GcloudIdentity()), {"PATH": str(town.directory)}),
        "gcloud_missing",
        ("gcloud", "not on PATH"),
        ("https://cloud.google.com/sdk/docs/install",),
    ),
    Trouble(
        "no login by gcloud at all",
        lambda _: Scene(to(RUN, UserIdentity())),
        "credential_file_missing",
        ("DIR/.config/gcloud/application_default_credentials.json",),
        (LOGIN_AGAIN,),
    ),
    Trouble(
        "a command that is not there",
        no_such_command,
        "command_not_started",
        ("DIR/print-token", "No such file"),
        ("Correct argv: DIR/print-token must be a program",),
    ),
    Trouble(
        "a command that fails",
        failing_command,
        "command_failed",
        ("command false", "exit code 1"),
        (f"IDTOKEN_PROXY_AUDIENCE=https://{RUN} false",),
    ),
    Trouble(
        "a token file that nobody has written",
        lambda town: Scene(to(RUN, FileIdentity(f"{town.directory}/token"))),
        "file_missing",
        ("DIR/token",),
        ("Write the ID token (a JWT) to DIR/token",),
    ),
    Trouble(
        "a token file that nobody renews",
        token_file_of(expired),
        "expired",
        ("DIR/token", "expired"),
        ("a token file must be renewed by whoever writes it",),
    ),
    Trouble(
        "a VM without a service account",
        metadata_with("account-not-found"),
        "no_service_account",
        ("metadata server", "no service account"),
        ("gcloud compute instances set-service-account INSTANCE --service-account=EMAIL",),
    ),
    Trouble(
        "another account than the metadata server has",
        lambda _: Scene(to(RUN, MetadataIdentity("other@shop-prod.iam.gserviceaccount.com"))),
        "no_service_account",
        ("metadata server", "other@shop-prod.iam.gserviceaccount.com"),
        ("gcloud run services update SERVICE --service-account=EMAIL",),
    ),
    Trouble(
        "a token endpoint that cannot be reached",
        endpoint_is_away,
        "endpoint_unreachable",
        ("127.0.0.1:1",),
        ("See that it runs, and listens there: curl -sv http://127.0.0.1:1/",),
    ),
)


@pytest.mark.parametrize("trouble", WITHOUT_TOKEN, ids=lambda trouble: trouble.what)
async def test_without_a_token(town: Town, trouble: Trouble) -> None:
    scene = await trouble.scene(town)
    report, text = await doctors_word(town, scene)
    [route] = report.routes
    [finding] = route.findings
    assert (finding.verdict, finding.cause) == (Verdict.FAIL, trouble.cause), text
    assert not report.all_ok
    assert f"fail: shop: {trouble.cause}" in text
    assert f"audience: https://{RUN}" in text
    assert f"identity: {route.identity}" in text
    assert [step.name for step in route.steps] == ["dns", "tcp", "tls"]  # and nothing was sent

    body = await proxys_word(town, scene)
    assert (body["route"], body["audience"]) == ("shop", f"https://{RUN}")
    assert body["cause"] == trouble.cause
    said = f"{body['detail']} {body['remedy']}"
    for words in filled_in(town, trouble.says + trouble.mends):
        assert words in text
        assert words in said
    assert "secret=1" not in json.dumps(body)
    assert not re.search(r"eyJ[A-Za-z0-9_-]{8}", text + said)


PASSING = (
    Trouble("Google's outage", metadata_with("outage"), "metadata_unavailable", ("503",), ()),
    Trouble("too many requests", metadata_with("rate-limit"), "metadata_unavailable", ("429",), ()),
    Trouble(
        "a pod that has just started", metadata_with("gke-starting"), "metadata_unavailable", ("pod",), ()
    ),
    Trouble("a guest network's sign-in page", metadata_with("garbage"), "metadata_foreign", (), ()),
    Trouble(
        "a token for another audience", metadata_with("wrong-audience"), "wrong_audience", ("metadata",), ()
    ),
)


@pytest.mark.parametrize("trouble", PASSING, ids=lambda trouble: trouble.what)
async def test_what_passes_or_comes_from_something_in_between(town: Town, trouble: Trouble) -> None:
    scene = await trouble.scene(town)
    report, text = await doctors_word(town, scene)
    [finding] = report.routes[0].findings
    assert finding.cause == trouble.cause
    assert finding.remedy  # doctor never leaves anybody without a word
    body = await proxys_word(town, scene)
    assert (body["route"], body["audience"], body["cause"]) == ("shop", f"https://{RUN}", trouble.cause)
    for words in trouble.says:
        assert words in text
        assert words in body["detail"]


# -- a token, and a receiver that does not take it -----------------------------


def meant_for(audience: str, host: str, identity: Identity | None = None, **changes: Any) -> Arrange:
    return lambda _: Scene(to(host, identity, audience=audience, **changes))


def as_dev(host: str, **changes: Any) -> Arrange:
    def arrange(town: Town) -> Scene:
        path = town.file(town.emulator.key_file("dev"))
        return Scene(to(host, UserIdentity(), **changes), {"GOOGLE_APPLICATION_CREDENTIALS": path})

    return arrange


def answering(host: str, answer: bytes, **changes: Any) -> Arrange:
    async def arrange(town: Town) -> Scene:
        await town.saying(host, answer)
        return Scene(to(host, **changes))

    return arrange


def function(answer: bytes, path: str = "", **changes: Any) -> Arrange:
    """As a 1st-generation function's front end; `path`: of the audience."""
    usual = {
        "upstream": Upstream("https", FUNCTION, 443, "/resize"),
        "audience": f"https://{FUNCTION}{path}",
    }
    return answering(FUNCTION, answer, **{**usual, **changes})


def token_for_another(town: Town) -> Scene:
    path = town.file(town.emulator.mint("login", "https://elsewhere.example.com"), "token")
    return Scene(to(RUN, FileIdentity(path)))


def registered_but_another(town: Town) -> Scene:
    path = town.file(town.emulator.mint("login", ONE_REGISTERED), "token")
    return Scene(to(RUN, FileIdentity(path)))


def as_batch(host: str, **changes: Any) -> Arrange:
    return lambda _: Scene(to(host, MetadataIdentity(BATCH_EMAIL), **changes))


def broken_receiver(kind: str) -> Arrange:
    def arrange(town: Town) -> Scene:
        town.emulator.break_with(kind)
        return Scene(to(RUN))

    return arrange


async def untrusted(town: Town) -> Scene:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    await town.listen(UNTRUSTED, serve, trusted=False)
    return Scene(to(UNTRUSTED))


def refused(town: Town) -> Scene:
    town.ports[UNTRUSTED] = 1
    return Scene(to(UNTRUSTED))


async def behind(town: Town) -> Scene:
    """The receiver is ahead by an hour and a half."""
    date = formatdate(time() + 5400, usegmt=True)
    await town.saying(HASH, page("401 Unauthorized", "Unauthorized", CHALLENGE, f"Date: {date}"))
    return Scene(to(HASH))


UNAUTHORIZED = page("401 Unauthorized", "Unauthorized", CHALLENGE)
FORBIDDEN = page("403 Forbidden", "Forbidden")

REFUSED = (
    Trouble(
        "no invoker",
        lambda _: Scene(to(HASH)),
        "no_invoker",
        (LOGIN_EMAIL, "may not invoke search"),
        (
            (
                "gcloud run services add-iam-policy-binding search --region=us-central1 "
                f"--member=serviceAccount:{LOGIN_EMAIL} --role=roles/run.invoker"
            ),
        ),
    ),
    Trouble(
        "a person who is no invoker",
        as_dev(RUN),
        "no_invoker",
        ("dev@example.com", "may not invoke profiles"),
        (
            (
                "gcloud run services add-iam-policy-binding profiles --region=europe-west1 "
                "--member=user:dev@example.com --role=roles/run.invoker"
            ),
        ),
    ),
    Trouble(
        "a role that was taken away",
        broken_receiver("invoker-lost"),
        "no_invoker",
        (LOGIN_EMAIL,),
        ("gcloud run services add-iam-policy-binding profiles --region=europe-west1",),
    ),
    Trouble(
        "a private service behind a public route",
        lambda _: Scene(to(HASH, NoIdentity(), audience=None)),
        "no_identity",
        ("none, a public route", "is private"),
        ("Give route shop an identity", "--member=allUsers"),
    ),
    Trouble(
        "a custom domain as its own audience",
        meant_for(f"https://{CUSTOM}", CUSTOM),
        "custom_domain_audience",
        (f"https://{CUSTOM}",),
        (f"gcloud run services update SERVICE --region=REGION --add-custom-audiences=https://{CUSTOM}",),
    ),
    Trouble(
        "a custom audience that is not registered",
        meant_for("https://api.shop.example", RUN),
        "audience_not_registered",
        ("https://api.shop.example",),
        (
            (
                "gcloud run services update profiles --region=europe-west1 "
                "--add-custom-audiences=https://api.shop.example"
            ),
        ),
    ),
    Trouble(
        "a run.app audience with a path",
        meant_for(f"https://{RUN}/v1/", RUN),
        "audience_with_path",
        (f"https://{RUN}/v1/",),
        (f"In route shop: audience: https://{RUN}",),
    ),
    Trouble(
        "a traffic tag's URL for an audience",
        meant_for(f"https://canary---{RUN}", RUN),
        "tag_audience",
        (f"https://canary---{RUN}", "a traffic tag's URL"),
        (f"In route shop: audience: https://{RUN}",),
    ),
    Trouble(
        "a run.app audience by http",
        meant_for(f"http://{RUN}", RUN),
        "audience_not_exact",
        (f"http://{RUN}",),
        (f"In route shop: audience: https://{RUN}",),
    ),
    Trouble(
        "another service's audience",
        meant_for(f"https://{HASH}", RUN),
        "other_service_audience",
        (f"https://{HASH}", RUN),
        (f"In route shop: audience: https://{RUN}",),
    ),
    Trouble(
        "a token file for another audience",
        token_for_another,
        "token_audience",
        ("https://elsewhere.example.com", "DIR/token"),
        (f"Have the token made for https://{RUN}",),
    ),
    Trouble(
        "a person at an audience that is checked",
        as_dev(CUSTOM, audience=ONE_REGISTERED),
        "audience_unsupported",
        ("DIR/credentials.json", ONE_REGISTERED),
        ("identity: {type: impersonated, service_account: EMAIL}", "serviceAccountOpenIdTokenCreator"),
    ),
    Trouble(
        "a good token that is refused all the same",
        broken_receiver("invalid-token"),
        "invalid_token",
        (LOGIN_EMAIL,),
        ("gcloud run services describe profiles --region=europe-west1 --format='value(status.url)'",),
    ),
    Trouble(
        "a clock that is behind the receiver's",
        behind,
        "clock_skew",
        (LOGIN_EMAIL, "90 min behind the receiver's"),
        ("timedatectl set-ntp true",),
    ),
    Trouble(
        "a function's audience without its name",
        function(UNAUTHORIZED),
        "function_audience",
        ("metadata server", "has none"),
        (f"In route shop: audience: https://{FUNCTION}/resize",),
    ),
    Trouble(
        "a function's right audience, and a 2nd generation",
        function(UNAUTHORIZED, "/resize"),
        "function_audience",
        (f"https://{FUNCTION}/resize",),
        ("gcloud functions describe resize --region=us-central1 --project=shop-prod",),
    ),
    Trouble(
        "no invoker of a function",
        function(FORBIDDEN, "/resize"),
        "no_invoker",
        (LOGIN_EMAIL, "may not invoke resize"),
        (
            (
                "gcloud functions add-iam-policy-binding resize --region=us-central1 --project=shop-prod "
                f"--member=serviceAccount:{LOGIN_EMAIL} --role=roles/cloudfunctions.invoker"
            ),
        ),
    ),
    Trouble(
        "a token where a function does not look for it",
        function(FORBIDDEN, "/resize", token_header=TokenHeader.X_SERVERLESS_AUTHORIZATION),
        "header_not_read",
        ("X-Serverless-Authorization",),
        ("In route shop: token_header: auto",),
    ),
    Trouble(
        "IAP, and the service's URL for an audience",
        lambda _: Scene(to(IAP, MetadataIdentity(BATCH_EMAIL))),
        "iap_client_id",
        (IAP_CLIENT, f"https://{IAP}"),
        (f"In route shop: audience: {IAP_CLIENT}",),
    ),
    Trouble(
        "IAP, and somebody who may not pass",
        meant_for(IAP_CLIENT, IAP),
        "iap_no_access",
        (LOGIN_EMAIL, "may not pass IAP"),
        (
            (
                "gcloud iap web add-iam-policy-binding --resource-type=cloud-run --service=intranet --region=us-east4 "
                f"--member=serviceAccount:{LOGIN_EMAIL} --role=roles/iap.httpsResourceAccessor"
            ),
        ),
    ),
    Trouble(
        "IAP, and a header that it does not read",
        as_batch(IAP, audience=IAP_CLIENT, token_header=TokenHeader.X_SERVERLESS_AUTHORIZATION),
        "iap_header",
        ("X-Serverless-Authorization",),
        ("In route shop: token_header: auto",),
    ),
    Trouble(
        "IAP with Google's own client, and a signed JWT for the wrong URL",
        lambda town: Scene(
            to(
                MANAGED,
                SignedJwtIdentity(BATCH_EMAIL, town.file(town.emulator.key_file("batch"))),
                audience="https://other.shop.example/*",
            )
        ),
        "iap_signed_audience",
        (BATCH_EMAIL, "https://other.shop.example/*"),
        (f"In route shop: audience: https://{MANAGED}/*",),
    ),
    Trouble(
        "IAP, and a login",
        as_dev(IAP, audience=IAP_CLIENT),
        "audience_unsupported",
        ("IAP takes its own client ID alone", "DIR/credentials.json"),
        ("identity: {type: impersonated, service_account: EMAIL}",),
    ),
    Trouble(
        "a redirect to Google's sign-in page",
        answering(
            RUN,
            b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n"
            b"Location: https://accounts.google.com/o/oauth2/v2/auth?x=1&client_id=77-x.apps.googleusercontent.com\r\n\r\n",
        ),
        "sign_in",
        ("if it is Google that answers 302",),
        ("In route shop: audience: 77-x.apps.googleusercontent.com", "{type: signed_jwt, service_account: "),
    ),
    Trouble(
        "no such service, or ingress",
        answering(HASH, page("404 Not Found", "Page not found")),
        "no_such_service",
        (HASH, "ingress"),
        ("gcloud run services describe search --region=us-central1",),
    ),
    Trouble(
        "a path that Google keeps for itself",
        lambda _: Scene(to(RUN, upstream=Upstream("https", RUN, 443, "/healthz"))),
        "reserved_path",
        ("keeps /healthz for itself",),
        ("such as /health",),
    ),
    Trouble(
        "an app that takes too long",
        broken_receiver("request-timeout"),
        "receiver_timeout",
        ("if it is Google that answers 504", "request timeout"),
        (
            "gcloud run services update profiles --region=europe-west1 --timeout=SECONDS --project=123456789012",
        ),
        Verdict.WARN,
    ),
    Trouble(
        "a perimeter around a service",
        answering(HASH, page("403 Forbidden", f"Forbidden</h1><p>{PERIMETER}</p><h1>")),
        "vpc_service_controls",
        (UNIQUE_IDENTIFIER,),
        ("Give " + UNIQUE_IDENTIFIER,),
    ),
    Trouble(
        "a service that lets nobody in from outside",
        answering(HASH, page("403 Forbidden", "Forbidden</h1><h2>Access is forbidden.</h2><h1>")),
        "ingress",
        ("ingress setting",),
        ("gcloud run services update search --region=us-central1 --ingress=all",),
    ),
    Trouble(
        "what nobody has written down yet",
        answering(HASH, page("403 Forbidden", "Forbidden</h1><h2>The moon is full.</h2><h1>")),
        "refused_otherwise",
        ("and says: Error: Forbidden The moon is full.",),
        ("gcloud run services describe search --region=us-central1",),
    ),
    Trouble(
        "no instance, as the emulator has it",
        broken_receiver("no-instance"),
        "no_instance",
        ("profiles has no instance",),
        ("gcloud run services update profiles --region=europe-west1 --max-instances=N",),
        Verdict.WARN,
    ),
    Trouble(
        "no instance",
        answering(HASH, page("429 Too Many Requests", "Rate exceeded.")),
        "no_instance",
        ("search has no instance",),
        ("gcloud run services update search --region=us-central1 --max-instances=N",),
        Verdict.WARN,
    ),
    Trouble(
        "a container that does not come up",
        answering(HASH, page("503 Service Unavailable", "Server Error")),
        "receiver_down",
        ("search did not come up",),
        ("gcloud run services logs read search --region=us-central1",),
        Verdict.WARN,
    ),
    Trouble(
        "an app that fails by itself",
        answering(
            HASH, b"HTTP/1.1 500 Oops\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        ),
        "receiver_error",
        ("answered 500",),
        ("See the receiver's log",),
        Verdict.WARN,
    ),
    Trouble(
        "a certificate of somebody else's CA",
        untrusted,
        "tls_certificate_error",
        (UNTRUSTED, "was not accepted"),
        ("tls: {ca_file: ...}",),
    ),
    Trouble(
        "a name that is not there",
        lambda _: Scene(to("prfiles-123456789012.europe-west1.run.app")),
        "dns_error",
        ("prfiles-123456789012.europe-west1.run.app cannot be resolved",),
        ("getent hosts prfiles-123456789012.europe-west1.run.app",),
    ),
    Trouble(
        "nobody who listens",
        refused,
        "connection_refused",
        (f"{UNTRUSTED} refuses connections",),
        (f"{UNTRUSTED}:443",),
    ),
    Trouble(
        "a receiver that breaks off",
        answering(HASH, b""),
        "connection_terminated",
        ("before its answer was complete",),
        (f"speaks HTTP at https://{HASH}",),
    ),
    Trouble(
        "a token whose audience the receiver takes, though the route has another",
        registered_but_another,
        "token_audience",
        (ONE_REGISTERED, "DIR/token"),
        ("name the audience that the token is for",),
        Verdict.WARN,
    ),
    Trouble(
        "Google's clock, hours ahead",
        broken_receiver("clock-ahead"),
        "clock_skew",
        ("behind Google's",),
        ("timedatectl set-ntp true",),
        Verdict.WARN,
    ),
    Trouble(
        "a token that hardly lives",
        broken_receiver("short-life"),
        "short_lived",
        ("s left",),
        ("Let its source hand out tokens that live longer",),
        Verdict.WARN,
    ),
)


@pytest.mark.parametrize("trouble", REFUSED, ids=lambda trouble: trouble.what)
async def test_with_a_token(town: Town, trouble: Trouble) -> None:
    scene = await trouble.scene(town)
    report, text = await doctors_word(town, scene)
    [route] = report.routes
    [finding] = route.findings
    assert (finding.verdict, finding.cause) == (trouble.verdict, trouble.cause), text
    assert f"{trouble.verdict.value}: shop: {trouble.cause}" in text
    assert f"audience: {scene.route.audience or 'none'}" in text
    assert f"identity: {route.identity}" in text
    for words in filled_in(town, trouble.says + trouble.mends):
        assert words in text
    assert not report.all_ok


def test_there_are_enough_of_them() -> None:
    assert len(WITHOUT_TOKEN) + len(PASSING) + len(REFUSED) >= 20


async def test_a_traffic_tag_s_url_is_an_upstream_and_no_audience(town: Town) -> None:
    tagged = f"canary---{RUN}"
    await town.listen(tagged, relay_to(town.emulator.urls["profiles"], tagged))
    route = settings_from_options(CommandLine(f"https://{tagged}"), {}).routes[0]
    assert route.audience == f"https://{RUN}"
    report, text = await doctors_word(town, Scene(replace(route, identity=MetadataIdentity())))
    assert report.all_ok, text


async def test_a_doubtful_audience_that_is_taken_is_a_warning(town: Town) -> None:
    """An app behind a custom front may take anything: it is a warning, and no more."""
    odd = f"https://{HASH}/v1"
    await town.saying(HASH, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    report, text = await doctors_word(town, Scene(to(HASH, audience=odd)))
    [finding] = report.routes[0].findings
    assert (finding.verdict, finding.cause) == (Verdict.WARN, "audience_doubtful")
    assert f"In route shop: write https://{HASH}" in text


async def test_when_all_is_well_nothing_is_said(town: Town) -> None:
    report, text = await doctors_word(town, Scene(to(RUN)))
    assert report.all_ok
    assert text.splitlines()[-1] == "OK: 1 route"
    [route] = report.routes
    assert (route.status, route.email) == (200, LOGIN_EMAIL)
    assert [step.name for step in route.steps] == ["dns", "tcp", "tls", "answer"]


@pytest.mark.parametrize(
    ("sent", "status", "remedy"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "(http, not https)"),
        (b"PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n", 400, "--http2-prior-knowledge"),
        (f"CONNECT {RUN}:443 HTTP/1.1\r\nHost: {RUN}:443\r\n\r\n".encode(), 405, f"write http://{RUN}/"),
    ],
)
async def test_another_protocol_is_told_what_to_speak(
    town: Town, sent: bytes, status: int, remedy: str
) -> None:
    server = Server(settings_of(town, Scene(to(RUN))), {"HOME": str(town.directory)})
    await server.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.addresses[0].port)
        writer.write(sent)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert head.split()[1] == str(status).encode()
        assert remedy in json.loads(body)["remedy"]
        writer.close()
        await writer.wait_closed()
    finally:
        await server.stop(drain=0)
