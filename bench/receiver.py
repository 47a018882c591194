"""The private service: nginx with one worker, over http and https, that answers 403 to a request without a token.

It must cost little, so that the proxy under test is the limit: no log, no access to a disk but for the large
bodies, which sendfile and the page cache make cheap.

Behind the scenarios of HTTP/2 stands nghttpd, in clear text and over TLS, that reads a request to its end and answers
with a file and a trailer. It looks for no token; so each target is first tried against another one that writes down
what it hears.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import trustme

from bench import http2_load
from bench.bulk import BulkError, Connection, probe
from bench.processes import StartError, find, free_port, last_line, running

MIB = 1024 * 1024
BODY = 1024
LARGE = 8 * MIB
REPLY = 128  # of a call
HUGE = 1024 * MIB
NGHTTPD = "apt-get install nghttp2-server"

# Ten response fields, as Cloud Run's front end sends them: these, and Server, Date, Content-Type, Content-Length.
_CONFIG = """\
daemon off;
master_process off;
worker_processes 1;
pid {directory}/receiver.pid;
error_log stderr warn;
events {{ worker_connections 32768; multi_accept on; }}
http {{
  access_log off;
  default_type application/json;
  sendfile on;
  tcp_nopush on;
  server_tokens off;
  keepalive_requests 1000000000;
  keepalive_timeout 3600s;
  large_client_header_buffers 8 16k;
  client_max_body_size 0;
  client_body_buffer_size 9m;
  client_body_temp_path {directory}/receiver-temp;
  proxy_temp_path {directory}/receiver-temp;
  fastcgi_temp_path {directory}/receiver-temp;
  uwsgi_temp_path {directory}/receiver-temp;
  scgi_temp_path {directory}/receiver-temp;
  ssl_certificate {directory}/receiver.pem;
  ssl_certificate_key {directory}/receiver.key;
  ssl_protocols TLSv1.3;

  map $http_authorization $has_token {{
    default 0;
    "~^Bearer [-_A-Za-z0-9]+[.][-_A-Za-z0-9]+[.][-_A-Za-z0-9]+$" 1;
  }}
  upstream sink {{ server unix:{directory}/sink.sock; keepalive 32; }}

  server {{
    listen 127.0.0.1:{http} backlog=8192;  # thousands that connect at once shall not wait for a second SYN
    listen 127.0.0.1:{https} ssl backlog=8192;
    server_name receiver;
    if ($has_token = 0) {{ return 403; }}
    add_header X-Cloud-Trace-Context "$http_x_request_id/2563891377;o=1";
    add_header Cache-Control "private, max-age=0";
    add_header Vary "Accept-Encoding, Origin";
    add_header ETag '"5d8c72a5edda8d6a"';
    add_header X-Content-Type-Options nosniff;
    add_header Alt-Svc 'h3=":443"; ma=2592000,h3-29=":443"; ma=2592000';
    location / {{ return 200 '{body}'; }}
    location = /count {{ stub_status; }}
    location = /large {{ alias {directory}/large; }}
    location = /huge {{ alias {directory}/huge; }}
    location = /upload {{  # read to its end before it is answered, as an app would
      proxy_pass http://sink;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Content-Length "";
      proxy_pass_request_body off;
      add_header X-Received-Bytes $request_length;
    }}
  }}
  server {{
    listen unix:{directory}/sink.sock;
    location / {{ return 200 "received"; }}
  }}
}}
"""


_TOKEN = re.compile(
    r" recv \(.*\) authorization: Bearer [-_A-Za-z0-9]+[.][-_A-Za-z0-9]+[.][-_A-Za-z0-9]+$", re.MULTILINE
)

# An upload's buffer comes from the heap and stays there; else each one is mapped, zeroed and unmapped afresh.
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 * MIB), "MALLOC_TRIM_THRESHOLD_": str(256 * MIB)}


def parse_requests(status: bytes) -> int:
    """Of nginx' stub_status: https://nginx.org/en/docs/http/ngx_http_stub_status_module.html."""
    found = re.search(rb"server accepts handled requests\s+\d+ \d+ (\d+)", status)
    if found is None:
        raise BulkError(f"no status of nginx: {status[:80]!r}")
    return int(found[1])


@dataclass(frozen=True)
class Witness:
    """An nghttpd that logs every field it hears."""

    port: int
    log: Path

    def tokens(self) -> int:
        return len(_TOKEN.findall(self.log.read_text(errors="replace")))


@dataclass(frozen=True)
class Receiver:
    ports: dict[str, int]  # by scheme
    ca_file: Path
    name: str = "localhost"  # in the certificate, beside 127.0.0.1
    witnesses: Mapping[str, Witness] = field(default_factory=dict)  # by scheme

    def requests(self) -> int:
        """How many it has had by http and https, this one included."""
        with Connection(self.ports["http"], token="a.b.c") as connection:
            return parse_requests(connection.read("/count"))

    def witnessed(self, scheme: str) -> Receiver:
        """With the witness in its place."""
        return replace(self, ports={scheme: self.witnesses[scheme].port})


@contextlib.contextmanager
def serving(directory: Path, cores: frozenset[int], *, http2: bool = False) -> Iterator[Receiver]:
    """`http2`: nghttpd as well, on the ports of h2c and h2."""
    nginx = find("nginx")
    if nginx is None:
        raise StartError("nginx, which is the receiver, is missing: apt-get install nginx-light")
    ca = trustme.CA(organization_name="idtoken-proxy bench")
    certificate = ca.issue_cert("localhost", "127.0.0.1", key_type=trustme.KeyType.ECDSA)
    ca.cert_pem.write_to_path(str(directory / "ca.pem"))
    certificate.private_key_pem.write_to_path(str(directory / "receiver.key"))
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(str(directory / "receiver.pem"), append=True)
    for name, size in (("large", LARGE), ("huge", HUGE)):
        with (directory / name).open("wb") as file:
            file.truncate(size)  # sparse: zeros that take no room

    ports = {"http": free_port(), "https": free_port()}
    config = directory / "receiver.conf"
    config.write_text(_CONFIG.format(directory=directory, body=_body(), **ports))
    log = directory / "receiver.log"
    command = [str(nginx), "-p", str(directory), "-c", str(config)]
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(running(command, cores=cores, log=log, env=_KEEP_MEMORY))
        try:
            probe(ports["http"], "/", within=10, expect=403, alive=lambda: process.poll() is None)
        except BulkError as error:
            raise StartError(f"the receiver: {error}: {last_line(log)}") from error
        witnesses = {}
        for scheme in ("h2c", "h2") if http2 else ():
            secure, log = scheme == "h2", directory / f"witness-{scheme}.log"
            ports[scheme] = stack.enter_context(
                _nghttpd(directory, cores, secure=secure, log=directory / f"nghttpd-{scheme}.log")
            )
            witness = _nghttpd(directory, cores, secure=secure, log=log, verbose=True)
            witnesses[scheme] = Witness(stack.enter_context(witness), log)
        yield Receiver(ports, directory / "ca.pem", witnesses=witnesses)


@contextlib.contextmanager
def _nghttpd(
    directory: Path, cores: frozenset[int], *, secure: bool, log: Path, verbose: bool = False
) -> Iterator[int]:
    nghttpd = find("nghttpd")
    if nghttpd is None:
        raise StartError(f"nghttpd, which is the receiver of HTTP/2, is missing: {NGHTTPD}")
    call = directory / "http2" / http2_load.CALL.lstrip("/")
    call.parent.mkdir(parents=True, exist_ok=True)
    call.write_bytes(b"\0" + (REPLY - 5).to_bytes(4, "big") + b"x" * (REPLY - 5))
    with (directory / "http2" / "large").open("wb") as file:
        file.truncate(LARGE)
    port, scheme = free_port(), "https" if secure else "http"
    command = [
        str(nghttpd),
        "--address=127.0.0.1",
        f"--htdocs={directory / 'http2'}",
        *("--max-concurrent-streams=100", "--window-bits=20", "--connection-window-bits=24"),
        "--trailer=grpc-status: 0",
        *(["--verbose"] if verbose else []),
        *([] if secure else ["--no-tls"]),
        str(port),
        *([str(directory / "receiver.key"), str(directory / "receiver.pem")] if secure else []),
    ]
    with running(command, cores=cores, log=log) as process:
        try:
            http2_load.probe(
                port,
                cores=cores,
                within=10,
                length=REPLY,
                scheme=scheme,
                alive=lambda: process.poll() is None,
            )
        except StartError as error:
            raise StartError(f"the receiver of HTTP/2: {error}: {last_line(log)}") from error
        yield port


def _body() -> str:
    text = '{"id": 42, "name": "Ada Lovelace", "email": "ada@example.com", "roles": ["reader", "writer"], "bio": "'
    return text + "x" * (BODY - len(text) - 2) + '"}'
