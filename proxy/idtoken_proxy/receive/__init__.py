"""The receiving side: a listener before an app, where callers show who they are, as Cloud Run's front end asks them to.

    bytes -> parse -> guard -> path's rule -> token (checked, remembered) -> invoker? -> outbound head -> app -> relay back

The engine is the forward path's, to which this package is a kind of entry (engine/route_entry.py, Admission). Pure are compact_token.py,
claims.py, verification_keys.py and issuers.py; key_set.py knows the time and asks for keys, key_fetch.py does the asking;
judge.py puts them in their order, verified_tokens.py remembers what passed, admission.py answers for one rule of one listener,
issuer_keys.py holds all key sets over reloads. composition.py and inbound_listeners.py are what the composition root makes of it.

The cryptography is the library `cryptography`: google-auth brings it along, so that it costs no dependency more. PyJWT and
google-auth's own jwt module are no help where a verifier has to be stricter than its library: both take base64url with other
unused bits and a claim that is said twice, and fetch keys by themselves, each in its own time. What is left to do by hand is a
hundred lines, each of which a test tries to get around.

Imported where `receive:` is configured, and nowhere else: cryptography takes 40 ms and some megabytes.
"""
