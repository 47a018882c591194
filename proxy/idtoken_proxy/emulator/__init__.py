"""The local Google, real and not a mock: it signs, and it checks.

    world.py             who is there: accounts, private services, who may invoke what; DEMO
    federation.py        who from outside may come in: pools, their providers, the principals they let in
    world_entries.py     what a YAML file of it takes, and its JSON Schema
    world_file.py        such a file -> World, or every mistake with its line
    keys.py              RSA keys and their public documents
    tokens.py            mints ID tokens and access tokens
    key_files.py         credential files for the accounts
    workloads.py         outside: GitHub, Azure and AWS as their workloads see them, and credential files for those
    metadata.py          issues: the metadata server
    token_endpoint.py    issues: POST /token, for key files
    consent.py           issues: a person's consent, at a page of its own; revokes it
    sts.py               issues: POST /v1/token, for workloads outside; what they show is judged in subject_tokens.py
    iam_credentials.py   issues: impersonation, signatures
    refusals.py          how the issuers say no
    public_keys.py       certificates, JWKS, discovery
    receivers.py         checks: each private service
    doors.py             where it listens: HTTP/1.1 and HTTP/2 on one port
    http2_front.py       a connection that speaks HTTP/2
    http2_stream.py      a stream of it, in the place of a connection of its own
    http2_request.py     its head, as a request's
    http2_writer.py      what is answered on it
    front_ends.py        before it: Cloud Run's, a 1st-generation function's
    iap.py               or IAP's
    edge.py              what Google's servers answer before any of these is asked
    google_api.py        or that of one of Google's APIs
    google_apps.py       and what answers there: vertex_ai.py, cloud_storage.py, Prometheus, a pip index
    container.py         the application behind it: tells what it received
    grpc_app.py          and its services of gRPC
    grpc_services.py     which are found by their path; health
    grpc_echo.py         echo, in all four kinds of calls
    reflection.py        which services there are, for tools that ask
    grpc_descriptors.py  what they are told: a service as its .proto has it
    grpc_call.py         a call: its messages, metadata, deadline and status
    grpc_messages.py     protocol buffers
    mcp_server.py        and an MCP server
    backend.py           or a developer's own; grpc_backend.py one of gRPC
    invokers.py          who may invoke it, changed while it runs
    breaks.py            failures on demand
    loopback.py          where it listens     rebinding.py  and under which names it answers
    emulator.py          all of it, running
    command.py           `idtoken-proxy emulate`

`serve` never imports this package.
"""

from idtoken_proxy.emulator.breaks import BREAKS
from idtoken_proxy.emulator.emulator import Emulator
from idtoken_proxy.emulator.receivers import Seen
from idtoken_proxy.emulator.world import DEMO, Account, Service, World

__all__ = ["BREAKS", "DEMO", "Account", "Emulator", "Seen", "Service", "World"]
