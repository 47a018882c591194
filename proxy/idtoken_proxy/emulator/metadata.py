"""The metadata server: what a workload on Google Cloud asks at http://metadata.google.internal.

Sources: https://cloud.google.com/compute/docs/metadata/querying-metadata (the required header, the refused one),
https://cloud.google.com/compute/docs/instances/verifying-instance-identity (the identity endpoint),
https://cloud.google.com/compute/docs/access/authenticate-workloads#applications (the token endpoint).

It hands out the same token until about 4 minutes are left: asking sooner brings nothing new.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web
from aiohttp.typedefs import Handler
from cachetools import TLRUCache

from idtoken_proxy.emulator.tokens import Mint
from idtoken_proxy.emulator.world import Account, World
from idtoken_proxy.identity.token import IdToken
from idtoken_proxy.settings.model import CLOUD_PLATFORM

ROOT = "/computeMetadata/v1"
FLAVOR = {"Metadata-Flavor": "Google", "Server": "Metadata Server for VM"}
RENEWS_BEFORE_END = 240.0  # seconds


class MetadataServer:
    def __init__(self, world: World, mint: Mint) -> None:
        self._world = world
        self._mint = mint
        self._cache: TLRUCache[tuple[Account, str, bool], str] = TLRUCache(
            1_000,
            ttu=lambda _key, token, _now: (
                IdToken.parse(token, origin="the emulator").expires_at - RENEWS_BEFORE_END
            ),
            timer=mint.clock,
        )

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/", _ping)
        app.add_subapp(ROOT, self._application())

    def forget(self) -> None:
        """Nothing that was handed out before is handed out again."""
        self._cache.clear()

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[_guard])
        accounts = "/instance/service-accounts"
        app.add_routes(
            [
                web.get("/project/project-id", self._project_id),
                web.get("/universe/universe-domain", self._universe_domain),
                web.get(f"{accounts}/", self._service_accounts),
                web.get(f"{accounts}/{{account}}/", self._service_account),
                web.get(f"{accounts}/{{account}}/email", self._email),
                web.get(f"{accounts}/{{account}}/identity", self._identity),
                web.get(f"{accounts}/{{account}}/token", self._token),
            ]
        )
        return app

    async def _identity(self, request: web.Request) -> web.Response:
        account = self._account(request)
        audience = request.query.get("audience")
        if not audience:
            return _text("non-empty audience parameter required", status=400)
        shape = request.query.get("format", "standard")
        if shape not in ("standard", "full"):
            return _text(f"unsupported format {shape}: standard or full", status=400)
        key = (account, audience, shape == "full")
        token = self._cache.get(key)
        if token is None:
            token = self._mint.id_token(account, audience, by="metadata", email=shape == "full")
            self._cache[key] = token
        self._mint.counts.handed_out["metadata"] += 1
        return _html(token)

    async def _token(self, request: web.Request) -> web.Response:
        scopes = request.query.get("scopes", CLOUD_PLATFORM).split(",")
        return web.json_response(self._mint.access_token_answer(self._account(request), scopes))

    async def _email(self, request: web.Request) -> web.Response:
        account = self._account(request)
        if account.is_agent:
            raise web.HTTPNotFound(text="no email", headers=FLAVOR)
        return _text(account.email)

    async def _service_account(self, request: web.Request) -> web.Response:
        account = self._account(request)
        return _tree(request, self._description(account), ("aliases", "email", "identity", "scopes", "token"))

    async def _service_accounts(self, request: web.Request) -> web.Response:
        described: dict[str, Mapping[str, object]] = {}
        for account in self._world.accounts:
            if account.default:
                described["default"] = self._description(account)
            if account.is_service_account:
                described[account.email] = self._description(account)
        return _tree(request, described, tuple(f"{name}/" for name in described))

    async def _project_id(self, _request: web.Request) -> web.Response:
        return _text(self._world.project)

    async def _universe_domain(self, _request: web.Request) -> web.Response:
        return _text("googleapis.com")

    def _account(self, request: web.Request) -> Account:
        account = self._world.account(request.match_info["account"])
        if account is None or not (account.is_service_account or account.default):
            raise web.HTTPNotFound(text="no such service account here", headers=FLAVOR)
        return account

    @staticmethod
    def _description(account: Account) -> dict[str, object]:
        return {
            "aliases": ["default"] if account.default else [],
            "email": account.email,
            "scopes": ["https://www.googleapis.com/auth/cloud-platform"],
        }


async def _ping(_request: web.Request) -> web.Response:
    """Libraries tell by the answer's header alone that they run on Google Cloud."""
    return web.Response(text="computeMetadata/\n", headers=FLAVOR)


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    if "X-Forwarded-For" in request.headers:
        return _html("Request forwarded: X-Forwarded-For is not accepted", status=403)
    if request.headers.get("Metadata-Flavor") != "Google":
        return _html("Missing Metadata-Flavor:Google header.", status=403)
    try:
        response = await handler(request)
    except web.HTTPException as refusal:
        refusal.headers.update(FLAVOR)
        raise
    response.headers.update(FLAVOR)
    return response


def _tree(request: web.Request, described: Mapping[str, object], names: tuple[str, ...]) -> web.Response:
    """A directory: its entries' names, or all of it as JSON with ?recursive=true."""
    if request.query.get("recursive", "").lower() == "true":
        return web.json_response(described)
    return _text("".join(f"{name}\n" for name in names))


def _text(body: str, status: int = 200) -> web.Response:
    return web.Response(text=body, status=status, content_type="application/text", headers=FLAVOR)


def _html(body: str, status: int = 200) -> web.Response:
    return web.Response(text=body, status=status, content_type="text/html", headers=FLAVOR)
