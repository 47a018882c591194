"""Moves bytes, and decides nothing that policy/ decides: the data path, which is this project's own.

    app -> admission -> request side -> Exchange -> (token) -> receiver's side -> receiver, and back

exchange.py           one request and its answer, in the order that is the security property     states.py  as a table
streams.py            its two doors: what it talks to on both sides, whatever version of HTTP is spoken there
accept.py             which receiver a request is for     waiting.py  where it costs a task
retry.py              when it may be said once more     kept_body.py  with its body
router.py             settings made ready: who finds the entry     route_entry.py  a route made ready     services.py  a project's
server_context.py     what all connections from apps share

HTTP/1.1: downstream.py from apps, http1_app.py to them; upstream.py to receivers and from them. pool.py their connections.
http1.py              heads     body.py  bodies     framing.py  an answer's, afresh     interim.py  1xx
known_fields.py       what fields do to a head     line_table.py  lines that repeat     not_http.py  what is no head at all

HTTP/2 (http2/ is its core, without I/O): http2_downstream.py from apps, http2_app.py and http2_app_body.py each stream;
http2_upstream.py to receivers, http2_pool.py their connections.
http2_transport.py    what both do with a transport     http2_liveness.py  PING     http2_losses.py  what a loss is called
http2_messages.py     heads, as the exchange knows them     http2_blocks.py  what is remembered of them
http2_head_limits.py  heads too large for their reader     memory_budget.py  what all of it may hold
http2_call_deadline.py, grpc_status.py, grpc_refusal.py   gRPC: its deadline, the proxy's statuses, Google's

WebSockets and CONNECT: switch.py from a request to a tunnel, tunnel.py its bytes, standing.py what it was let in by.

Connections: listeners.py where apps come, socket_file.py unix sockets, admission.py who may, accepted_tls.py TLS before apps.
dialer.py the way to a receiver, connect.py through an egress proxy, tls.py TLS, tls_endings.py and connect_errors.py its
failures. sweeper.py all deadlines, timeout_errors.py who is late, disconnect_watch.py who has gone, send_queue.py who does
not read.

What is said: local_responses.py the proxy's own answers, way_there.py with the remedy, refusal_log.py Google's refusals,
access.py the access log. What is counted: stats.py, receipts.py. What is traced: trace.py, sampler.py, traced_exchange.py.
"""
