"""idtoken-proxy: unmodified apps call private Google Cloud services as plain localhost URLs.

How a request travels, top to bottom; the order is the security property (engine/exchange.py):

    bytes -> parse -> guard -> route -> token (cached) -> outbound head -> upstream -> relay back

    settings/         YAML text -> frozen Settings, or every mistake with its line
    policy/           decides: which route, may this caller, which headers; pure, no clock, no I/O
    identity/         obtains: sources fetch one token, the cache keeps it valid
    engine/           moves bytes: exchanges and their two doors (streams.py), HTTP/1.1 or HTTP/2 behind each, pools, deadlines,
                      tunnels; http2/ is HTTP/2 without I/O
    receive/          the other end of a call: lets in whoever shows by a token that it may, before an app
    metadata_server/  stands in for Google's metadata server, for apps that use Google's libraries
    admin/            faces the operator: health and status
    tracing/          spans for OpenTelemetry, where they are wanted
    emulator/         a local Google: token issuers, and receivers that check tokens
    testing/          the same as fixtures of pytest, for other people's tests
    init/             a first configuration, from what gcloud, a manifest or a person says
    mcp/              an MCP client's local server, which stands for a private one
    wrapper/          an app that is started, watched and ended with
    commands/         the commands that have a file of their own

What one configuration makes, and what lasts over reloads:

    server.py         the composition root: listeners, and one generation of settings for the next
    generation.py     what one configuration makes     composer.py  one after the other
    first_tokens.py   the tokens that a start waits for     readiness.py  whether they, and all else, are there
    side_listeners.py the operator's listener and the metadata server's face     span_export.py  where spans go
    draining.py       the end of connections     tls_trust.py  whose certificates count

The process around it:

    __main__.py       `python -m idtoken_proxy`     cli.py  the commands     options.py  which configuration they mean
    startup.py        what comes before everything     serving.py  signals, reloads, the exit code     leaving.py  the end
    reload.py         the next configuration     lifecycle.py  its states     notify.py  what systemd is told
    logs.py           one line for each event     first_screen.py  what `serve` shows on a terminal     errors.py  whose fault it is
    descriptors.py    how many there may be     allocator.py, collector.py  memory     turns.py  long work in pieces
    plain_file.py     a file, read without waiting     terminal.py  other people's words     build.py  pure or compiled
    demo.py           the demo     demo_receive.py  both ends of a call     demo_file.py  its file     breakable.py  --break KIND
    login.py          a person at a browser     doorstep.py  where that comes back to

Imports point one way: errors -> settings -> policy -> identity -> engine -> receive -> admin, emulator, tracing -> server -> cli
(tests/test_architecture.py holds it).
"""

__version__ = "0.1.0"
