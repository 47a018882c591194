"""Google's library for Python as an app uses it: nothing here knows of a proxy. What came of it, as one JSON object."""

from __future__ import annotations

import json
import sys

import google.auth
import requests
from google.auth.compute_engine import Credentials, _metadata
from google.auth.transport.requests import AuthorizedSession, Request
from google.oauth2 import id_token

service, api = sys.argv[1:]
asking = Request()
token = id_token.fetch_id_token(asking, service)  # type: ignore[no-untyped-call]
called = requests.get(f"{service}/from-python", headers={"Authorization": f"Bearer {token}"}, timeout=10)
credentials, project = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
assert isinstance(credentials, Credentials)
session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
asked = session.get(f"{api}/from-python", timeout=10)
told = {
    "available": _metadata.ping(asking),  # type: ignore[no-untyped-call]
    "project": project,
    "email": credentials.service_account_email,
    "caller": called.json()["caller"],
    "api": asked.json()["caller"],
}
sys.stdout.write(json.dumps(told))
