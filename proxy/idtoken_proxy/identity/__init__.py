"""Obtains ID tokens and access tokens: stupid sources, a clever cache.

token.py             IdToken: claims read once, the value redacted; AccessToken
sources/             one small file for each kind of credential; fetch(audience) blocks, and knows nothing of caching
cache.py             (identity, what is asked for) -> slot
slot.py              single flight, back-off, refresh ahead     flight.py  one fetch, and what its failure means
credential_watch.py  ends a back-off when a login or a file has changed     login_wait.py  requests that wait for that
login_store.py       what `idtoken-proxy login` leaves     oauth_client.py  with which client
schedule.py          when a token may be sent and when the next is fetched: arithmetic
threads.py           blocking fetches with a deadline     clock.py  two clocks     tasks.py  background tasks' owner
events.py            what observers are told     error_causes.py  what each error's cause means

Why Google refuses, and the command that mends it:

google_error.py      what Google said, whichever form it came in     grpc_error.py  the same over gRPC
answer.py            a receiver's answer: who gave it     evidence.py  what is known of a refusal
reasons.py           why token endpoints, IAM and STS refuse     rules.py  why front ends do
diagnosis.py         all of these in their order     gcp_resource.py  names for the commands
redaction.py         other people's words, cut down to what is safe to show
"""
