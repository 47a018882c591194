"""Faces the operator: health and status, on a listener of its own (aiohttp), and commands that look at a configuration.

place.py          where the listener is, before there is anything to serve it
aiohttp_listener.py  opened and stopped there, the metadata server's face too
app.py            its paths     connections.py  how many, and how long     unreadable.py  aiohttp's own answers, in our words
status.py         the status page and what feeds it     history.py  the last minutes
metrics.py, token_metrics.py   what was counted     families.py  in pieces     exposition.py  as Prometheus reads it
doctor.py         each route tried     probe.py  one receiver     doctor_keys.py  each issuer's keys     report.py  what was found
client.py         `wait` and `probe`     one_token.py  `token`
"""
