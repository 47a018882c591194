"""What is measured, and how one measurement is taken."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from bench import bulk, h2load_output, http2_load, issuer, load, metadata, receiver, targets
from bench.bars import (
    BUILDS,
    FEW_CONNECTIONS,
    MANY_CONNECTIONS,
    MANY_ROUTES,
    ONE_ROUTE,
    ROUTES,
    TWO,
    connections,
    instances,
    row,
)
from bench.bulk import BulkError
from bench.h2load_output import H2loadError, Http2Load
from bench.http2_load import Shape, Until
from bench.processes import Cores, Layout, StartError, last_line
from bench.procfs import cpu_seconds, rss_bytes
from bench.receiver import BODY, LARGE, REPLY, Receiver
from bench.report import Column
from bench.stats import Sample
from bench.targets import CONNECTIONS, HTTP2, PLAIN, RECEIVE, IdTokenProxy, Instance, Target, Variant
from bench.wrk_output import WrkError, faults

IDLE_CONNECTIONS = 1000
SETTLED = 3.0  # seconds in which all has started that may begin after the first answer (this proxy watches its file)
_OPENING = 1.0  # seconds, and what follows for each connection
_OPENED_A_SECOND = 1000
_PATIENT = 20  # seconds for an answer, while thousands of connections are opened
STREAMS = 2  # connections that carry large bodies
BODIES = 32  # by HTTP/2, for each second that a measurement is to take


@dataclass
class Range:
    """Where measurements are taken: the receiver, the metadata server, and the cores."""

    directory: Path
    cores: Cores
    receiver: Receiver
    metadata_port: int
    seconds: float
    identity: str
    _places: int = field(default=0, init=False)

    @contextlib.contextmanager
    def place(self, target: Target, *, scheme: str, variant: Variant = PLAIN) -> Iterator[Instance]:
        self._places += 1
        directory = self.directory / f"{self._places:03}"
        with targets.placed(
            *(target, directory, self.cores),
            scheme=scheme,
            receiver=self.receiver,
            metadata_port=self.metadata_port,
            variant=variant,
            identity=self.identity,
        ) as instance:
            yield instance


@contextlib.contextmanager
def opened(
    directory: Path,
    cores: Cores,
    layouts: Collection[Layout],
    *,
    seconds: float,
    identity: str,
    http2: bool = False,
) -> Iterator[dict[Layout, Range]]:
    """A range for each of the layouts, with a receiver of its own."""
    with contextlib.ExitStack() as stack:
        metadata_port = stack.enter_context(metadata.serving())
        ranges: dict[Layout, Range] = {}
        for layout in layouts:
            place, laid = directory / layout.replace(" ", "-"), cores.laid_out(layout)
            place.mkdir()
            behind = stack.enter_context(receiver.serving(place, laid.load, http2=http2))
            ranges[layout] = Range(place, laid, behind, metadata_port, seconds, identity)
        yield ranges


Measure = Callable[[Range, Instance], Sample]


@dataclass(frozen=True)
class Scenario:
    """`fresh`: every measurement has a process of its own; else one process serves all rounds. `variants`: of each target, a
    row each. `own`: of this proxy alone. `layout`: which cores have the target, the load and the receiver.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    measure: Measure
    scheme: str = "http"
    fresh: bool = False
    variants: tuple[Variant, ...] = (PLAIN,)
    own: bool = False
    layout: Layout = "apart"
    most_rounds: int = 1000

    @property
    def http2(self) -> bool:
        return self.scheme in HTTP2

    def rows(self, chosen: Sequence[Target]) -> dict[str, tuple[Target, Variant]]:
        """By the name of each row."""
        able = [
            target
            for target in chosen
            if (target.receives or self.scheme != RECEIVE)
            and (target.http2 or not self.http2)
            and (isinstance(target, IdTokenProxy) or not self.own)
        ]
        return {
            row(target.name, variant.label): (target, variant) for target in able for variant in self.variants
        }

    def pairs(self, rows: Collection[str]) -> list[tuple[str, str]]:
        """What is compared where there are variants, which all have labels then: each row with its target's first one, and
        each of this proxy's builds with each peer's row of the same variant.
        """
        first, *others = (variant.label for variant in self.variants)
        names = [name.removesuffix(f", {first}") for name in rows if name.endswith(f", {first}")]
        peers = [name for name in names if name not in BUILDS]
        within = [(row(name, label), row(name, first)) for name in names for label in others]
        beside = [
            (row(name, label), row(peer, label))
            for name in names
            if name in BUILDS
            for peer in peers
            for label in (first, *others)
        ]
        return [*within, *beside]


def guarded(measure: Measure) -> Measure:
    """A measurement that goes wrong is a flagged sample, not the end of the run."""

    def run(where: Range, instance: Instance) -> Sample:
        try:
            sample = measure(where, instance)
        except (OSError, BulkError, H2loadError, WrkError, StartError) as error:
            sample = Sample(errors=(str(error) or type(error).__name__,))
        if instance.process.poll() is not None:
            return Sample(
                sample.values, (*sample.errors, f"the process has ended: {last_line(instance.log)}")
            )
        return sample

    return run


def small_requests(routes: int = 0, *, tokens: bool = False) -> Measure:
    """`routes`: how many prefixes the requests have in turn, where there is one route for everything; else each route's.
    `tokens`: each request carries its caller's.
    """

    def run(where: Range, instance: Instance) -> Sample:
        before, start = cpu_seconds(instance.pid), time.perf_counter()
        result = load.run(
            instance.port,
            connections=instance.variant.connections,
            seconds=where.seconds,
            routes=instance.variant.routes or routes,
            cores=where.cores.load,
            tokens=issuer.write_tokens(where.directory) if tokens else None,
        )
        cpu = cpu_seconds(instance.pid) - before
        elapsed = time.perf_counter() - start
        values = {
            "rps": result.per_second,
            "cpu": 1e6 * cpu / max(1, result.requests),
            "p50": result.p50,
            "p99": result.p99,
            # wrk prepares its requests before its clock runs, and the proxy has nothing to do then
            "busy": 100 * cpu / min(elapsed, result.duration / 1e6),
        }
        return Sample(values, faults(result, body=BODY))

    return run


def settled_requests() -> Measure:
    """Of connections that are open and have had their answers: what it takes to open thousands counts for nothing. The receiver
    says how many requests there were meanwhile.
    """

    def run(where: Range, instance: Instance) -> Sample:
        opening = _OPENING + instance.variant.connections / _OPENED_A_SECOND
        with ThreadPoolExecutor(1) as beside:
            loading = beside.submit(
                load.run,
                instance.port,
                connections=instance.variant.connections,
                seconds=opening + where.seconds + _OPENING,
                routes=0,
                cores=where.cores.load,
                timeout=_PATIENT,
            )
            time.sleep(opening)
            requests, cpu, start = where.receiver.requests(), cpu_seconds(instance.pid), time.perf_counter()
            time.sleep(where.seconds)
            cpu = cpu_seconds(instance.pid) - cpu
            elapsed = time.perf_counter() - start
            requests = where.receiver.requests() - requests - 1
            result = loading.result()
        values = {
            "rps": requests / elapsed,
            "cpu": 1e6 * cpu / max(1, requests),
            "p50": result.p50,
            "p99": result.p99,
            "busy": 100 * cpu / elapsed,
        }
        return Sample(values, faults(result, body=BODY) if requests > 0 else ("no request in its time",))

    return run


Transfer = Callable[[Range, bulk.Connection, memoryview], object]


def large_bodies(transfer: Transfer) -> Measure:
    def run(where: Range, instance: Instance) -> Sample:
        before = cpu_seconds(instance.pid)
        one = functools.partial(transfer, where)
        result = bulk.bodies(one, instance.port, seconds=where.seconds, connections=STREAMS)
        cpu = cpu_seconds(instance.pid) - before
        values = {
            "mb_s": result.bodies * LARGE / 1e6 / result.seconds,
            "cpu": 1e3 * cpu / max(1, result.bodies),
            "busy": 100 * cpu / result.seconds,
        }
        return Sample(values, tuple(result.errors))

    return run


def _download(where: Range, connection: bulk.Connection, space: memoryview) -> None:
    del where
    connection.get("/large", space, length=LARGE)


def _upload(where: Range, connection: bulk.Connection, space: memoryview) -> None:
    connection.post("/upload", where.directory / "large", space)


def http2_calls(streams: int, *, unique: bool = False) -> Measure:
    def run(where: Range, instance: Instance) -> Sample:
        uris = http2_load.write_uris(where.directory) if unique else None
        shape = Shape(
            instance.variant.connections, streams, post=http2_load.write_message(where.directory), uris=uris
        )
        result, cpu, faults = _http2(where, instance, shape, Until(seconds=where.seconds), body=REPLY)
        values = {
            "rps": result.per_second,
            "cpu": 1e6 * cpu / max(1, result.requests),
            "mean": result.mean,
            "busy": 100 * cpu / (result.duration / 1e6),
        }
        return Sample(values, faults)

    return run


def settled_http2_calls() -> Measure:
    """As `settled_requests`, one call after the other on each connection. h2load leaves out what it does while it opens them; the
    target's share of a core in the time that follows, by the rate of calls, is what each costs.
    """

    def run(where: Range, instance: Instance) -> Sample:
        count = instance.variant.connections
        shape = Shape(count, 1, post=http2_load.write_message(where.directory))
        until = Until(seconds=where.seconds + _OPENING, opening=round(_OPENING + count / _OPENED_A_SECOND))
        with ThreadPoolExecutor(1) as beside:
            loading = beside.submit(http2_load.run, instance.port, shape, until, cores=where.cores.load)
            time.sleep(until.opening + _OPENING / 2)
            cpu, start = cpu_seconds(instance.pid), time.perf_counter()
            time.sleep(where.seconds)
            share = (cpu_seconds(instance.pid) - cpu) / (time.perf_counter() - start)
            result = loading.result()
        rate = result.requests / until.whole  # what h2load says of its duration has the warm-up in it
        values = {
            "rps": rate,
            "cpu": 1e6 * share / max(rate, 1e-9),
            "mean": result.mean,
            "busy": 100 * share,
        }
        return Sample(values, h2load_output.faults(result, protocol="h2c", body=REPLY, warmed=True))

    return run


def http2_bodies(*, up: bool) -> Measure:
    def run(where: Range, instance: Instance) -> Sample:
        large = where.directory / "large"
        shape = Shape(STREAMS, post=large) if up else Shape(STREAMS, path="/large")
        # a body cut off at the end would cost, and not count: much where a few dozen go through
        until = Until(requests=max(STREAMS, round(BODIES * where.seconds)), seconds=where.seconds)
        result, cpu, faults = _http2(where, instance, shape, until, body=REPLY if up else LARGE)
        values = {
            "mb_s": result.per_second * LARGE / 1e6,
            "cpu": 1e3 * cpu / max(1, result.requests),
            "busy": 100 * cpu / (result.duration / 1e6),
        }
        return Sample(values, faults)

    return run


def _http2(
    where: Range, instance: Instance, shape: Shape, until: Until, *, body: int
) -> tuple[Http2Load, float, tuple[str, ...]]:
    """What h2load found, the target's processor seconds, and why the run does not count."""
    before = cpu_seconds(instance.pid)
    result = http2_load.run(instance.port, shape, until, cores=where.cores.load)
    cpu = cpu_seconds(instance.pid) - before
    return result, cpu, h2load_output.faults(result, protocol="h2c", body=body)


def memory(where: Range, instance: Instance) -> Sample:
    time.sleep(SETTLED)
    idle = rss_bytes(instance.pid)
    sample = small_requests()(where, instance)
    time.sleep(0.5)
    loaded = rss_bytes(instance.pid)
    with bulk.idle_connections(instance.port, IDLE_CONNECTIONS, "/idle"):
        time.sleep(0.5)
        crowded = rss_bytes(instance.pid)
    values = {
        "idle": idle / 1e6,
        "loaded": loaded / 1e6,
        "connection": (crowded - loaded) / IDLE_CONNECTIONS / 1e3,
    }
    return Sample(values, sample.errors)


def startup(where: Range, instance: Instance) -> Sample:
    del where
    return Sample({"first": 1e3 * instance.first_answer})


def stall(where: Range, instance: Instance) -> Sample:
    """1 GiB to a client that reads the head, and then nothing."""
    time.sleep(SETTLED)
    with bulk.Connection(instance.port) as connection:
        for _ in range(3):  # what bodies cost once
            connection.get("/large", bulk.buffer(), length=LARGE)
    before = peak = rss_bytes(instance.pid)
    with bulk.Connection(instance.port, receive_buffer=64 * 1024) as connection:
        connection.send("GET", "/huge")
        head, _ = connection.read_head()
        if (head.status, head.length) != (200, receiver.HUGE):
            raise BulkError(f"status {head.status} with {head.length} bytes, where 1 GiB was due")
        end = time.perf_counter() + where.seconds
        while time.perf_counter() < end:
            time.sleep(0.05)
            peak = max(peak, rss_bytes(instance.pid))
    return Sample({"growth": (peak - before) / receiver.MIB})


_RATE = Column("rps", "requests/s", compare=True)
_CPU = Column("cpu", "CPU us/request", 1, compare=True)
_BUSY = Column("busy", "core %")
_TAILS = (Column("p50", "p50 us", compare=True), Column("p99", "p99 us"))
_BULK = (Column("mb_s", "MB/s", compare=True), Column("cpu", "CPU ms/body", 2, compare=True), _BUSY)


_ONE_CONNECTION = (Variant(connections=1),)
_FROM_FEW_TO_MANY = tuple(
    Variant(connections(count), connections=count) for count in (FEW_CONNECTIONS, 256, MANY_CONNECTIONS)
)


def _by_scheme(scheme: str) -> list[Scenario]:
    return [
        Scenario(
            *(scheme, f"{CONNECTIONS} connections, {scheme} upstream", (_RATE, _CPU, *_TAILS, _BUSY)),
            *(small_requests(), scheme),
        ),
        Scenario(
            *(f"{scheme}-1", f"one connection, {scheme} upstream", (*_TAILS, _RATE, _CPU)),
            *(small_requests(), scheme),
            variants=_ONE_CONNECTION,
        ),
        Scenario(
            f"{scheme}-1-core",
            f"one connection, the target, the load and the receiver on one core, {scheme} upstream",
            (*_TAILS, _CPU),
            *(small_requests(), scheme),
            variants=_ONE_CONNECTION,
            layout="one core",
        ),
        Scenario(
            *(f"download-{scheme}", f"8 MiB downloads, {STREAMS} connections, {scheme} upstream", _BULK),
            *(large_bodies(_download), scheme),
        ),
        Scenario(
            *(f"upload-{scheme}", f"8 MiB uploads, {STREAMS} connections, {scheme} upstream", _BULK),
            *(large_bodies(_upload), scheme),
        ),
    ]


def _http2_scenarios() -> list[Scenario]:
    """HTTP/2 on both sides: calls as gRPC makes them, and large bodies."""
    columns = (_CPU, _RATE, Column("mean", "mean us", compare=True), _BUSY)
    calls = [
        ("h2c", "h2c", 4, 25, False),
        ("h2c-50x1", "h2c", 50, 1, False),
        ("h2c-1x1", "h2c", 1, 1, False),
        ("h2c-unique", "h2c", 1, 100, True),  # h2load gives each connection the same paths
        ("h2", "h2", 4, 25, False),
    ]
    return [
        *(
            Scenario(
                name,
                f"unary calls, {'connections' if count > 1 else 'connection'}: {count}, "
                f"streams on each: {streams}{', no two paths alike' if unique else ''}, {scheme} upstream",
                columns,
                http2_calls(streams, unique=unique),
                scheme,
                variants=(Variant(connections=count),),
            )
            for name, scheme, count, streams, unique in calls
        ),
        Scenario(
            "connections-h2c",
            "unary calls one after the other on each of few connections and of many, h2c upstream",
            *(columns, settled_http2_calls(), "h2c"),
            variants=_FROM_FEW_TO_MANY,
        ),
        *(
            Scenario(
                f"{'upload' if up else 'download'}-{scheme}",
                f"8 MiB {'uploads' if up else 'downloads'}, {STREAMS} connections, {scheme} upstream",
                _BULK,
                http2_bodies(up=up),
                scheme,
            )
            for scheme in HTTP2
            for up in (False, True)
        ),
    ]


SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        *_by_scheme("http"),
        *_by_scheme("https"),
        *_http2_scenarios(),
        Scenario(
            *(
                RECEIVE,
                f"callers' tokens checked before an app, {CONNECTIONS} connections",
                (_RATE, _CPU, *_TAILS, _BUSY),
            ),
            *(small_requests(tokens=True), RECEIVE),
        ),
        Scenario(
            "routes",
            f"one prefixed route, {ROUTES:,}, and one for everything, {CONNECTIONS} connections",
            (_RATE, _CPU, *_TAILS, _BUSY),
            small_requests(ROUTES),
            variants=(
                Variant(ONE_ROUTE, routes=1),
                Variant(MANY_ROUTES, routes=ROUTES),
                Variant("one for everything"),
            ),
            own=True,
        ),
        Scenario(
            "connections",
            "few connections and many, http upstream",
            (_CPU, _RATE, *_TAILS, _BUSY),
            settled_requests(),
            variants=_FROM_FEW_TO_MANY,
        ),
        *(
            Scenario(
                f"instances{suffix}",
                f"one instance and {TWO} on one port (a peer's threads or workers), 64 connections, the load and the receiver "
                f"on the same cores, {scheme} upstream",
                (_CPU, _RATE, *_TAILS),
                *(small_requests(), scheme),
                variants=tuple(
                    Variant(instances(count), instances=count, connections=64) for count in (1, TWO)
                ),
                layout="all cores",
            )
            for suffix, scheme in (("", "http"), ("-https", "https"))
        ),
        Scenario(
            "memory",
            f"resident memory, https upstream; {IDLE_CONNECTIONS:,} idle connections",
            (
                Column("idle", "idle MB", 1, compare=True),
                Column("loaded", "after load MB", 1),
                Column("connection", "KB/idle connection", 1),
            ),
            memory,
            scheme="https",
            fresh=True,
            most_rounds=3,
        ),
        Scenario(
            "startup",
            "from start to the first answer through it, https upstream",
            (Column("first", "ms", compare=True),),
            startup,
            scheme="https",
            fresh=True,
        ),
        Scenario(
            "stall",
            "1 GiB to a reader that stalls: growth of resident memory, https upstream",
            (Column("growth", "MiB", 2),),
            stall,
            scheme="https",
            fresh=True,
            most_rounds=3,
        ),
    )
}
