"""The local Google in a thread of its own, so that a test need not be a coroutine, and may block as its client does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from idtoken_proxy.emulator import Account, Emulator, Seen, Service, World
from idtoken_proxy.emulator.world import service_account_email
from idtoken_proxy.testing.private_service import PrivateService, received

_PROJECT: Final = "test-project"
_CALLER: Final = Account(service_account_email("caller", _PROJECT), default=True)
_STRANGER: Final = Account(service_account_email("stranger", _PROJECT))
_PERSON: Final = Account("person@example.com")

# `caller` may invoke the service, and is whom the metadata server knows; `stranger` and `person` may not.
WORLD: Final = World(
    _PROJECT,
    (_CALLER, _STRANGER, _PERSON),
    (Service("private-service", frozenset({_CALLER.member})),),
)


class Google:
    """A context manager. `directory`: for credential files. An account is told by its name or its email; KeyError where there
    is none.
    """

    def __init__(self, world: World, directory: Path) -> None:
        self._seen: list[Seen] = []
        self._emulator = Emulator(world, on_request=self._seen.append)
        self._directory = directory
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="google", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._emulator.__aenter__(), self._loop).result()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            ending = self._emulator.__aexit__(kind, error, traceback)
            asyncio.run_coroutine_threadsafe(ending, self._loop).result()
        finally:
            self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # -- where -------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Of all of Google's own endpoints."""
        return self._emulator.url

    @property
    def metadata_host(self) -> str:
        """HOST:PORT, for GCE_METADATA_HOST."""
        return self._emulator.metadata_host

    @property
    def certs_url(self) -> str:
        """Of the certificates that ID tokens are verified with, as google.oauth2.id_token.verify_token takes it."""
        return self._emulator.certs_url

    @property
    def jwks_url(self) -> str:
        """Likewise, as JWKS (RFC 7517)."""
        return self._emulator.jwks_url

    @property
    def urls(self) -> dict[str, str]:
        """Of the private services, by their names."""
        return dict(self._emulator.urls)

    def environ(self) -> dict[str, str]:
        """Variables for a program under test: with these, Google's libraries find the default account."""
        return {"GCE_METADATA_HOST": self.metadata_host, "GCE_METADATA_IP": self.metadata_host}

    # -- who ---------------------------------------------------------------------

    def email(self, account: str = "default") -> str:
        return self._account(account).email

    def credentials_file(self, account: str = "default") -> str:
        """The path of a key file, or of a person's login, for GOOGLE_APPLICATION_CREDENTIALS: with it Google's libraries ask
        the token endpoint here.
        """
        path = self._directory / f"{self._account(account).name}.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(self._emulator.key_file(account)), encoding="utf-8")
        return str(path)

    def id_token(self, audience: str, account: str = "default") -> str:
        """One that was asked for in no other way, for tests of a receiver."""
        return self._emulator.mint(account, audience)

    def access_token(self, account: str = "default") -> str:
        return self._emulator.access_token(account)

    def _account(self, name: str) -> Account:
        found = self._emulator.world.account(name)
        if found is None:
            raise KeyError(name)
        return found

    # -- what goes wrong -----------------------------------------------------------

    @contextlib.contextmanager
    def broken(self, kind: str) -> Iterator[None]:
        """For as long as this lasts it fails so: `kind` is one of `idtoken-proxy emulate --break`, such as `outage`. KeyError."""
        self._emulator.break_with(kind)
        try:
            yield
        finally:
            self._emulator.mend()

    def mend(self) -> None:
        """All is well again."""
        self._emulator.mend()

    # -- what arrived --------------------------------------------------------------

    def private_service(self, name: str | None = None) -> PrivateService:
        """One of the world's services, the first by default, and what it gets from now on. KeyError."""
        name = next(iter(self._emulator.urls)) if name is None else name
        before = len(self._seen)
        return PrivateService(
            name,
            self._emulator.urls[name],
            lambda: [received(one) for one in self._seen[before:] if one.service == name],
        )
