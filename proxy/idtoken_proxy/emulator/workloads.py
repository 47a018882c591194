"""Outside Google Cloud: the issuer, the AWS instance and the Azure machine of each workload identity provider, and
the credential files by which Google's libraries find them.

Under /emulator/workloads/POOL/PROVIDER, for an OIDC provider:

token                                   {"value": JWT}, as GitHub gives it out
token.txt                               the bare JWT, for a file
executable                              what an executable prints
metadata/identity/oauth2/token          {"access_token": JWT}, as Azure's metadata service

and for an AWS one, as the metadata service of EC2 (version 2, with its session token):

latest/api/token
latest/meta-data/placement/availability-zone
latest/meta-data/iam/security-credentials[/ROLE]

and for both config.json[?impersonate=ACCOUNT], the credential file.

Sources: https://google.aip.dev/auth/4117 (the credential file), https://cloud.google.com/iam/docs/workload-identity-federation-with-other-providers,
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html,
https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import urllib.parse
from typing import Literal, TypeAlias

from aiohttp import web
from google.auth import jwt

from idtoken_proxy.emulator import iam_credentials, sts
from idtoken_proxy.emulator.federation import Aws, Oidc, Provider
from idtoken_proxy.emulator.keys import Keys
from idtoken_proxy.emulator.tokens import Clock
from idtoken_proxy.emulator.world import World

Kind: TypeAlias = Literal["file", "url", "executable", "aws", "azure"]

ROOT = "/emulator/workloads/{pool}/{provider}"
CONFIG = f"{ROOT}/config.json"
LIFETIME = 3600  # seconds, of subject tokens
SESSION = "emulated-imds-session"
_AZURE = "metadata/identity/oauth2/token"
_AWS = "latest/meta-data"
_ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105 - a token type


class Workloads:
    def __init__(self, world: World, keys: Keys, clock: Clock) -> None:
        self._world = world
        self._keys = keys
        self._clock = clock

    def add_to(self, app: web.Application) -> None:
        router = app.router
        router.add_get(f"{ROOT}/token", self._token)
        router.add_get(f"{ROOT}/token.txt", self._token_text)
        router.add_get(f"{ROOT}/executable", self._executable)
        router.add_get(f"{ROOT}/{_AZURE}", self._azure)
        router.add_put(f"{ROOT}/latest/api/token", self._aws_session)
        router.add_get(f"{ROOT}/{_AWS}/placement/availability-zone", self._aws_zone)
        router.add_get(f"{ROOT}/{_AWS}/iam/security-credentials", self._aws_role)
        router.add_get(f"{ROOT}/{_AWS}/iam/security-credentials/{{role}}", self._aws_credentials)
        router.add_get(CONFIG, self._config)

    def subject_token(self, provider: Provider, **claims: object) -> str:
        """KeyError where the emulator is not the issuer."""
        oidc = provider.trusts
        if not isinstance(oidc, Oidc) or oidc.keys:
            raise KeyError(provider.name)
        now = int(self._clock())
        audience = provider.audience(self._world.number)
        said: dict[str, object] = {
            "iss": oidc.issuer,
            "aud": oidc.audiences[0] if oidc.audiences else f"https:{audience}",
            "iat": now,
            "exp": now + LIFETIME,
        }
        said |= dict(oidc.workload) | claims
        present = {name: value for name, value in said.items() if value is not None}
        token: bytes = jwt.encode(self._keys.of(oidc.issuer).signer, present)  # type: ignore[no-untyped-call]
        return token.decode("ascii")

    def external_account(
        self, provider: Provider, kind: Kind, origin: str, at: str = "", impersonate: str | None = None
    ) -> dict[str, object]:
        """`impersonate`: an account's email."""
        config: dict[str, object] = {
            "universe_domain": "googleapis.com",
            "type": "external_account",
            "audience": provider.audience(self._world.number),
            "subject_token_type": provider.trusts.subject_token_types[0],
            "token_url": origin + sts.PATH,
            "credential_source": _credential_source(provider, kind, origin, at),
        }
        if impersonate:
            config["service_account_impersonation_url"] = (
                f"{origin}{iam_credentials.ROOT}/{impersonate}:generateAccessToken"
            )
        return config

    async def _token(self, request: web.Request) -> web.Response:
        return web.json_response({"value": await self._issued(request)})

    async def _token_text(self, request: web.Request) -> web.Response:
        return web.Response(text=await self._issued(request))

    async def _executable(self, request: web.Request) -> web.Response:
        """https://google.aip.dev/auth/4117#determining-the-subject-token-in-executable-sourced-credentials."""
        token = await self._issued(request)
        expires = int(self._clock()) + LIFETIME
        return web.json_response(
            {
                "version": 1,
                "success": True,
                "token_type": _ID_TOKEN,
                "id_token": token,
                "expiration_time": expires,
            }
        )

    async def _azure(self, request: web.Request) -> web.Response:
        resource = request.query.get("resource")
        if request.headers.get("Metadata", "").lower() != "true" or not resource:
            return web.json_response(
                {
                    "error": "invalid_request",
                    "error_description": "Required metadata header or resource not specified",
                },
                status=400,
            )
        token = await self._issued(request, aud=resource)
        answer = {"access_token": token, "expires_in": str(LIFETIME), "resource": resource}
        return web.json_response(answer | {"token_type": "Bearer"})

    async def _aws_session(self, request: web.Request) -> web.Response:
        self._aws(request)
        if "X-aws-ec2-metadata-token-ttl-seconds" not in request.headers:
            raise web.HTTPBadRequest
        return web.Response(text=SESSION)

    async def _aws_zone(self, request: web.Request) -> web.Response:
        return web.Response(text=f"{self._aws_in_session(request).region}a")

    async def _aws_role(self, request: web.Request) -> web.Response:
        return web.Response(text=self._aws_in_session(request).role)

    async def _aws_credentials(self, request: web.Request) -> web.Response:
        aws = self._aws_in_session(request)
        if request.match_info["role"] != aws.role:
            raise web.HTTPNotFound
        end = dt.datetime.fromtimestamp(self._clock() + LIFETIME, dt.UTC)
        return web.json_response(
            {
                "Code": "Success",
                "Type": "AWS-HMAC",
                "AccessKeyId": aws.access_key_id,
                "SecretAccessKey": aws.secret_access_key,
                "Token": aws.session_token,
                "Expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        )

    async def _config(self, request: web.Request) -> web.Response:
        provider = self._provider(request)
        kind: Kind = "aws" if isinstance(provider.trusts, Aws) else "url"
        asked = request.query.get("impersonate")
        account = self._world.account(asked) if asked else None
        if asked and account is None:
            raise web.HTTPNotFound(text="no such account\n")
        email = account.email if account else None
        content = self.external_account(provider, kind, f"http://{request.host}", impersonate=email)
        return web.json_response(content, dumps=lambda document: json.dumps(document, indent=2) + "\n")

    async def _issued(self, request: web.Request, **claims: object) -> str:
        try:
            return await asyncio.to_thread(self.subject_token, self._provider(request), **claims)
        except KeyError:
            raise web.HTTPNotFound(text="the emulator is not this provider's issuer\n") from None

    def _aws_in_session(self, request: web.Request) -> Aws:
        aws = self._aws(request)
        if request.headers.get("X-aws-ec2-metadata-token") != SESSION:
            raise web.HTTPUnauthorized
        return aws

    def _aws(self, request: web.Request) -> Aws:
        aws = self._provider(request).trusts
        if not isinstance(aws, Aws):
            raise web.HTTPNotFound
        return aws

    def _provider(self, request: web.Request) -> Provider:
        asked = request.match_info["pool"], request.match_info["provider"]
        for provider in self._world.providers:
            if (provider.pool, provider.name) == asked:
                return provider
        raise web.HTTPNotFound(text="no such provider\n")


def _credential_source(provider: Provider, kind: Kind, origin: str, at: str) -> dict[str, object]:
    base = origin + ROOT.format(pool=provider.pool, provider=provider.name)
    match kind:
        case "file":
            return {"file": at}
        case "url":
            return {"url": f"{base}/token", "format": _json_field("value")}
        case "executable":
            return {"executable": {"command": at or f"curl -sf {base}/executable", "timeout_millis": 5000}}
        case "aws":
            return {
                "environment_id": "aws1",
                "region_url": f"{base}/{_AWS}/placement/availability-zone",
                "url": f"{base}/{_AWS}/iam/security-credentials",
                "imdsv2_session_token_url": f"{base}/latest/api/token",
                "regional_cred_verification_url": (
                    "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"
                ),
            }
        case _:  # azure
            audiences = provider.trusts.audiences if isinstance(provider.trusts, Oidc) else ()
            resource = audiences[0] if audiences else "api://emulated"
            query = urllib.parse.urlencode({"api-version": "2018-02-01", "resource": resource})
            return {
                "url": f"{base}/{_AZURE}?{query}",
                "headers": {"Metadata": "True"},
                "format": _json_field("access_token"),
            }


def _json_field(name: str) -> dict[str, str]:
    return {"type": "json", "subject_token_field_name": name}
