"""idtoken-proxy: unmodified apps call private Google Cloud services as plain localhost URLs.

How a request travels, top to bottom; the order is the security property (engine/exchange.py):

    bytes -> parse -> guard -> route -> token (cached) -> outbound head -> upstream -> relay back

    settings/         YAML text -> frozen Settings, or every mistake with its line
    policy/           decides: which route, may this caller, which headers; pure, no clock, no I/O
    identity/         obtains: sources fetch one token, the cache keeps it valid
    engine/           moves bytes: exchanges between two doors (streams.py), each speaking HTTP/1.1 or HTTP/2; pools,
                      deadlines, tunnels; http2/ is HTTP/2 without I/O
    receive/          the other end of a call: stands before an app and admits callers whose token says they may
    metadata_server/  stands in for Google's metadata server, for apps that use Google's libraries
    admin/            faces the operator: health and status
    tracing/          spans for OpenTelemetry, if configured
    emulator/         a local Google: token issuers, and receivers that check tokens
    testing/          the same as pytest fixtures, for other people's tests
    init/             writes a first configuration from gcloud's lists, a manifest or a person's answers
    mcp/              a local MCP server that stands for a private one
    wrapper/          starts an app, watches it and ends with it
    commands/         the commands that need a file each

What one configuration makes, and what outlasts a reload:

    server.py         the composition root: listeners, and the exchange of one generation of settings for the next
    generation.py     what one configuration makes     composer.py  makes one generation after the other
    first_tokens.py   the tokens that a start waits for     readiness.py  whether tokens and keys are there
    side_listeners.py the admin listener and the metadata server     span_export.py  where spans go
    draining.py       the end of connections     tls_trust.py  which certificates are trusted

The process around it:

    __main__.py       `python -m idtoken_proxy`     cli.py  the commands     options.py  the configuration they read
    startup.py        runs before any other import     serving.py  signals, reloads, the exit code     leaving.py  exit
    reload.py         the next configuration     lifecycle.py  its states     notify.py  what systemd is told
    logs.py           one line for each event     first_screen.py  what `serve` shows on a terminal     errors.py  whose fault it is
    descriptors.py    open files     allocator.py, collector.py  memory     turns.py  long work in pieces
    plain_file.py     reads a file without waiting     terminal.py  untrusted text     build.py  pure or compiled
    demo.py           the demo     demo_receive.py  both ends of a call     demo_file.py  its file     breakable.py  --break KIND
    login.py          a person at a browser     doorstep.py  the port the browser comes back to

Imports point one way: errors -> settings -> policy -> identity -> engine -> receive -> admin, emulator, tracing ->
server -> cli (tests/test_architecture.py holds it).
"""

__version__ = "0.1.0"
