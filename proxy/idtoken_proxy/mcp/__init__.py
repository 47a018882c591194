"""`idtoken-proxy mcp URL`: an MCP client's local server (stdio) that stands for a private one behind Google's front ends.

    client <-> standard_streams.py <-> bridge.py <-> streamable_http.py, or http_sse.py for servers of 2024 <-> the engine

The engine attaches tokens and renews refused ones, as it does for any app: it listens on a unix socket in a directory that
nobody else can open (listener.py), and the bridge is its only client. What passes are JSON-RPC messages as they came
(messages.py). The bridge keeps what HTTP needs and stdio does not have: the session and its handshake, the protocol's
version and routing fields (routing_fields.py), the ID of the last event of each stream, and words for what went wrong
(refusal.py). remote.py speaks HTTP with the engine, event_stream.py reads a server's events, handshake.py says `initialize`
once more to a server that has forgotten. command.py is the process, client_config.py what to paste into a client,
tool_list.py a server's tools without one.

Source: https://modelcontextprotocol.io/specification, revisions 2024-11-05 to 2025-11-25 and 2026-07-28, which has no sessions.
"""
