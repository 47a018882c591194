"""Makes one generation of settings after the other from what outlasts them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from time import time

from idtoken_proxy.engine.stats import Stats
from idtoken_proxy.engine.sweeper import Sweeper
from idtoken_proxy.errors import ConfigError, Problem
from idtoken_proxy.generation import Generation, check_audiences, compose, load
from idtoken_proxy.identity.cache import TokenCache
from idtoken_proxy.identity.clock import Clock
from idtoken_proxy.identity.threads import Threads
from idtoken_proxy.settings.exposure import exposed
from idtoken_proxy.settings.model import Settings
from idtoken_proxy.tls_trust import Trust
from idtoken_proxy.turns import in_turns

_CERTIFICATES = 30.0  # seconds to read certificates; without them there is no start and no reload
_CREDENTIAL_FILES = 5.0  # seconds to read all credential files; then a start or a reload goes on without


class Composer:
    """Reads each kind of file in a thread of its own: a disk may hang, and neither kind must wait behind the other."""

    def __init__(
        self,
        environ: Mapping[str, str],
        cache: TokenCache,
        sweeper: Sweeper,
        stats: Stats,
        clock: Clock | None,
    ) -> None:
        self._environ = environ
        self._cache = cache
        self._sweeper = sweeper
        self._stats = stats
        self._clock = clock
        self._certificates = Threads("certificates")
        self._credentials = Threads("objections")

    async def compose(
        self,
        settings: Settings,
        trusted: Callable[[], Trust] | None = None,
        before: Generation | None = None,
    ) -> Generation:
        """`trusted`: from trust_ahead, if it was called for these settings. `before`: the generation in force. Raises
        ConfigError.
        """
        wall = time if self._clock is None else self._clock.wall
        try:
            found = await self._certificates.run(
                functools.partial(load, settings, self._environ, trusted, wall), _CERTIFICATES
            )
        except TimeoutError:
            message = f"tls.ca_file or guard.caller_token_file could not be read within {_CERTIFICATES:g} s"
            raise ConfigError((Problem("settings", 0, "", message),)) from None
        return await in_turns(
            compose(
                settings,
                found,
                cache=self._cache,
                sweeper=self._sweeper,
                stats=self._stats,
                before=before,
                clock=self._clock,
            )
        )

    async def check_files(self, generation: Generation) -> tuple[Problem, ...]:
        """Doubts about the generation's credential files. Raises ConfigError if a route cannot use its identity."""
        settings = generation.settings
        check = functools.partial(check_audiences, settings, generation.sources)
        try:
            await self._credentials.run(check, _CREDENTIAL_FILES)
            return await self._credentials.run(functools.partial(exposed, settings.files), _CREDENTIAL_FILES)
        except TimeoutError:  # they lie on a disk that hangs; the fetch will say so
            return ()
