"""The local Google, real and not a mock: it signs, and it checks.

    world.py             who is there: accounts, private services, who may invoke what; DEMO
    world_file.py        a YAML file -> World, or every mistake with its line
    keys.py              RSA keys and their public documents
    tokens.py            mints ID tokens and access tokens
    key_files.py         credential files for the accounts
    metadata.py          issues: the metadata server
    token_endpoint.py    issues: POST /token, for key files
    iam_credentials.py   issues: impersonation
    public_keys.py       certificates, JWKS, discovery
    receivers.py         checks: each private service's front end
    container.py         the application behind it: tells what it received
    emulator.py          all of it, running
    command.py           `idtoken-proxy emulate`

`serve` never imports this package.
"""

from proxy.emulator.emulator import Emulator
from proxy.emulator.receivers import Seen
from proxy.emulator.world import DEMO, Account, Service, World

__all__ = ["DEMO", "Account", "Emulator", "Seen", "Service", "World"]
