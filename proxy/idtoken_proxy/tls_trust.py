"""Which certificates are trusted for receivers: those of the system's roots, which take 60 ms to read, and of
`tls.ca_file`.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeAlias

from idtoken_proxy.errors import ConfigError, Problem
from idtoken_proxy.settings.model import Settings

Trust: TypeAlias = ssl.SSLContext | None  # None if no receiver is reached by https


def trust(settings: Settings) -> Trust:
    """Reads files. Raises ConfigError."""
    upstreams = (
        *(route.upstream for route in settings.routes),
        *(inbound.upstream for inbound in settings.receive),
    )
    if all(upstream.scheme == "http" for upstream in upstreams):
        return None
    try:
        return tls_context(settings.ca_file)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        problem = Problem("settings", 0, "tls.ca_file", f"{settings.ca_file} cannot be read: {error}")
        raise ConfigError((problem,)) from None


def trust_ahead(settings: Settings) -> Callable[[], Trust]:
    """Begins `trust` at once in a thread, while the caller imports other modules. The function it returns waits for the
    result, and raises ConfigError.
    """
    done: Future[Trust] = Future()

    def read() -> None:
        try:
            done.set_result(trust(settings))
        except BaseException as error:  # noqa: BLE001 -- it belongs to whoever asks for the result
            done.set_exception(error)

    threading.Thread(target=read, name="trust", daemon=True).start()
    return done.result


def trust_for_http2(trusted: Trust) -> Callable[[], ssl.SSLContext] | None:
    """A function that makes a context for HTTP/2 which trusts whom `trusted` trusts; made once, on the first call, in
    any thread. `trusted` itself offers HTTP/1.1, and a context offers the same protocol on all its connections.
    """
    if trusted is None:
        return None
    lock = threading.Lock()
    made: list[ssl.SSLContext] = []

    def make() -> ssl.SSLContext:
        with lock:
            if not made:
                # Takes what `trusted` read of `ca_file`, because the file may have changed since.
                context = tls_context(None, "h2")
                context.load_verify_locations(cadata=b"".join(trusted.get_ca_certs(binary_form=True)))
                made.append(context)
            return made[0]

    return make


def tls_context(ca_file: str | None, protocol: str = "http/1.1") -> ssl.SSLContext:
    """Always verifies. `ca_file` is trusted besides the system's roots. `protocol`: for ALPN. Raises OSError,
    ssl.SSLError.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([protocol])
    # The common name does not count any more (RFC 9110 section 4.3.4); a private CA may put anything there.
    context.hostname_checks_common_name = False
    context.options |= ssl.OP_NO_RENEGOTIATION
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context
