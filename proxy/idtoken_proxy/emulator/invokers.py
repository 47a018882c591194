"""Who may invoke a service, changed while it runs: what `gcloud run services add-iam-policy-binding` is to the real one.

    curl -X POST   http://127.0.0.1:8090/emulator/services/search/invokers/login
    curl -X DELETE http://127.0.0.1:8090/emulator/services/search/invokers/login

A page of the web can send such a POST without being asked by anybody, so what comes from a page is refused, as are names that
can be rebound (rebinding.py). A program that reaches the emulator has its keys already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from idtoken_proxy.emulator.rebinding import refuse_pages
from idtoken_proxy.emulator.receivers import Receiver
from idtoken_proxy.emulator.world import ANY_ACCOUNT, ANYONE, World

PATH: Final = "/emulator/services/{service}/invokers/{member}"


class Invokers:
    """`receivers`: by the names of their services; they come to be after this."""

    def __init__(self, world: World, receivers: Mapping[str, Receiver]) -> None:
        self._world = world
        self._receivers = receivers

    def add_to(self, app: web.Application) -> None:
        app.router.add_post(PATH, self._changed)
        app.router.add_delete(PATH, self._changed)

    async def _changed(self, request: web.Request) -> web.Response:
        refuse_pages(request)
        name = request.match_info["service"]
        receiver = self._receivers.get(name)
        if receiver is None:
            raise web.HTTPNotFound(text=f"no such service; there are: {', '.join(self._receivers)}\n")
        member = self._member(request.match_info["member"])
        if member is None:
            accounts = ", ".join(account.name for account in self._world.accounts)
            raise web.HTTPNotFound(text=f"no such account; there are: {accounts}, {ANYONE}, {ANY_ACCOUNT}\n")
        if request.method == "POST":
            receiver.let_in(member)
            return web.Response(text=f"{member} may invoke {name} now\n")
        receiver.shut_out(member)
        return web.Response(text=f"{member} may not invoke {name} any more\n")

    def _member(self, name: str) -> str | None:
        """Of a name, an email, or a member as IAM writes it."""
        if name in (ANYONE, ANY_ACCOUNT):
            return name
        account = self._world.account(name.partition(":")[2] or name)
        return account.member if account and name in (account.name, account.email, account.member) else None
