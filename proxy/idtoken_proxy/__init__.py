"""idtoken-proxy: unmodified apps call private Google Cloud services as plain localhost URLs.

How a request travels, top to bottom; the order is the security property (engine/exchange.py):

    bytes -> parse -> guard -> route -> token (cached) -> outbound head -> upstream -> relay back

    settings/   YAML text -> frozen Settings, or every mistake with its line
    policy/     decides: which route, may this caller, which headers; pure, no clock, no I/O
    identity/   obtains: sources fetch one token, the cache keeps it valid
    engine/     moves bytes: exchanges and their two doors (streams.py), HTTP/1.1 or HTTP/2 behind each, pools, deadlines,
                tunnels; http2/ is HTTP/2 without I/O
    receive/    the other end of a call: lets in whoever shows by a token that it may, before an app
    admin/      faces the operator: health and status
    tracing/    spans for OpenTelemetry, where they are wanted
    emulator/   a local Google: token issuers, and receivers that check tokens
    server.py   the composition root; generation.py what one configuration makes;
                first_tokens.py the tokens that its start waits for; trust.py whose certificates count
    serving.py  the process around it, and leaving.py its end; reload.py the next configuration
    init/       a first configuration, from what gcloud, a manifest or a person says
    mcp/        an MCP client's local server, which stands for a private one
    wrapper/    an app that is started, watched and ended with
    cli.py      the commands; options.py which configuration they mean; startup.py what comes before all of it;
                login.py a person at a browser, doorstep.py where that comes back to

Imports point one way: errors -> settings -> policy -> identity -> engine -> receive -> admin, emulator, tracing -> server -> cli
(tests/test_architecture.py holds it).
"""

__version__ = "0.1.0"
