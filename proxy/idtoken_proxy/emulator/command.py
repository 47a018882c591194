"""`idtoken-proxy emulate`: the local Google until Ctrl-C, a line for each request that a private service gets."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from shlex import quote  # an IPv6 address is in brackets, which some shells would match with files
from typing import Final

from idtoken_proxy import leaving
from idtoken_proxy.emulator.breaks import BREAKS
from idtoken_proxy.emulator.emulator import KEY_FILES, Emulator
from idtoken_proxy.emulator.federation import Provider, pool_path
from idtoken_proxy.emulator.loopback import loopback
from idtoken_proxy.emulator.receivers import Cancelled, Seen
from idtoken_proxy.emulator.workloads import CONFIG
from idtoken_proxy.emulator.world import DEMO, Service, World
from idtoken_proxy.emulator.world_entries import APP, NAME
from idtoken_proxy.emulator.world_file import load_world
from idtoken_proxy.engine.http2.error_codes import name_of
from idtoken_proxy.errors import ConfigError, Problem
from idtoken_proxy.settings.schema_dsl import ValidationError
from idtoken_proxy.terminal import say

FIRST_SERVICE: Final = 11  # above the issuers' port: 8101 above 8090, as config/local-development.yaml has it


def run_emulator(
    world_file: str | None,
    host: str | None,
    port: int,
    break_kind: str | None = None,
    backends: Sequence[str] = (),
) -> int:
    """`host`: None takes the loopback address that there is. `break_kind`: of BREAKS. `backends`: NAME=URL, of apps behind
    services. The exit code: 0 after Ctrl-C or SIGTERM, 1 where it cannot listen, 2 where the world's file, or what was said
    beside it, is wrong.
    """
    try:
        world = with_backends(load_world(world_file) if world_file else DEMO, backends)
    except ConfigError as error:
        say(error.detail, err=True)
        return 2
    try:
        return leaving.run(_serve(numbered(world, port), host or loopback(), port, break_kind))
    except OSError as error:
        say(f"cannot listen: {error.strerror or error}", err=True)
        return 1


def with_backends(world: World, backends: Iterable[str]) -> World:
    """Those apps stand behind their services. A service that is not there yet is there then, and the account of the
    metadata server may invoke it. ConfigError.
    """
    services = {service.name: service for service in world.services}
    problems = []
    for said in backends:
        name, _, url = said.partition("=")
        place = "--service"  # until the name is one: what stands there else may be anything
        try:
            place = f"--service {NAME.read(name, ())}"
            backend = APP.read(url, ())
        except ValidationError as mistaken:
            problems += [Problem(place, 0, "", message) for _, message in mistaken.mistakes]
            continue
        default = world.default_account
        known = services.get(name) or Service(name, frozenset({default.member} if default else ()))
        services[name] = replace(known, backend=backend)
    if problems:
        raise ConfigError(tuple(problems))
    return replace(world, services=tuple(services.values()))


def numbered(world: World, port: int) -> World:
    """Its services without a port of their own get the ones that follow the issuers', the same at every start. The
    kernel chooses where it chooses the issuers', and where no port is left.
    """
    if port == 0:
        return world
    taken = {port, *(service.port for service in world.services)}
    free = (number for number in range(port + FIRST_SERVICE, 65536) if number not in taken)
    return replace(
        world,
        services=tuple(
            service if service.port else replace(service, port=next(free, 0)) for service in world.services
        ),
    )


async def _serve(world: World, host: str, port: int, break_kind: str | None) -> int:
    stop = stop_requested()
    async with Emulator(world, host=host, port=port, on_request=_tell, on_cancel=_tell_of) as emulator:
        if break_kind:
            emulator.break_with(break_kind)
            say(f"# Broken on purpose ({break_kind}): {BREAKS[break_kind]}.")
        for line in what_to_export(emulator):
            say(line)
        await stop.wait()
    return 0


def stop_requested() -> asyncio.Event:
    """Set by Ctrl-C and by SIGTERM, both of which end a command in order."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def what_to_export(emulator: Emulator) -> Iterator[str]:
    yield f"# The local Google, project {emulator.world.project}. Ctrl-C ends it."
    default = emulator.world.default_account
    if default:
        yield f"# Metadata server; its default account is {default.email}:"
        yield f"export GCE_METADATA_HOST={emulator.metadata_host}"
        yield f"export GCE_METADATA_IP={emulator.metadata_host}  # Python's library looks for it here"
    yield "# Private services; who may invoke each:"
    for service in emulator.world.services:
        variable = service.name.upper().replace("-", "_")
        behind = f"; {_front_end(service)}" if service.iap or service.is_function else ""
        behind += f"; your app at {service.backend}" if service.backend else ""
        who = ", ".join(sorted(service.invokers))
        yield f"export {variable}_URL={emulator.urls[service.name]}  # {who}{behind}"
    pairs = ((s, a) for s in emulator.world.services for a in emulator.world.accounts)
    example = next(((s.name, a.name) for s, a in pairs if not a.is_among(s.invokers)), None)
    if example:
        yield "# To let a caller in while it runs (DELETE shuts it out):"
        yield f"curl -X POST {quote(emulator.let_in_url(*example))}"
    yield "# Credential files, for GOOGLE_APPLICATION_CREDENTIALS:"
    for account in emulator.world.accounts:
        url = quote(emulator.url + KEY_FILES.format(account=account.name))
        yield f"curl -so {account.name}.json {url}"
    for provider in emulator.world.providers:
        yield f"curl -so {provider.name}.json '{emulator.url}{_config(emulator.world, provider)}'"
    yield f"# Token endpoint {emulator.token_endpoint}, IAM Credentials {emulator.iam_endpoint}, STS {emulator.sts_endpoint}"
    yield f"# Public keys {emulator.certs_url}, {emulator.jwks_url}"


def _tell(seen: Seen) -> None:
    fate = f"refused with {seen.refused}" if seen.refused else "let through"
    say(f"{seen.service}: {seen.method} {seen.target}: {fate}")


def _tell_of(cancelled: Cancelled) -> None:
    say(
        f"{cancelled.service}: {cancelled.method} {cancelled.target}: cancelled with {name_of(cancelled.code)}"
    )


def _front_end(service: Service) -> str:
    if service.iap is None:
        return "a 1st-generation function"
    return (
        f"behind IAP, audience {service.iap.client_id}"
        if service.iap.client_id
        else "behind IAP, managed client"
    )


def _config(world: World, provider: Provider) -> str:
    """Of the credential file, with an account that the provider's pool may impersonate."""
    pool = f"/{pool_path(world.number, provider.pool)}/"
    path = CONFIG.format(pool=provider.pool, provider=provider.name)
    for account in world.accounts:
        if any(pool in member for member in account.token_creators):
            return f"{path}?impersonate={account.name}"
    return path
