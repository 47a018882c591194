"""Google's library for Python where an app names the metadata server's credentials itself, and nothing looks for the server first."""

from __future__ import annotations

import json
import sys

from google.auth.compute_engine import Credentials, IDTokenCredentials
from google.auth.transport.requests import AuthorizedSession, Request

service, api = sys.argv[1:]
calling = IDTokenCredentials(Request(), service, use_metadata_identity_endpoint=True)  # type: ignore[no-untyped-call]
asking = Credentials()  # type: ignore[no-untyped-call]
told = {
    "email": calling.service_account_email,
    "caller": AuthorizedSession(calling).get(f"{service}/from-python", timeout=10).json()["caller"],  # type: ignore[no-untyped-call]
    "api": AuthorizedSession(asking).get(f"{api}/from-python", timeout=10).json()["caller"],  # type: ignore[no-untyped-call]
}
sys.stdout.write(json.dumps(told))
