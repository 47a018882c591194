"""Any app: it calls its sidecar, and then orders itself, as whoever is in the same network could."""

import json
import urllib.error
import urllib.request

with urllib.request.urlopen("http://localhost:8080/orders/42", timeout=10) as answer:
    told = json.load(answer)
print(f"{told['path']} was asked for by {told['caller']}", flush=True)
try:
    urllib.request.urlopen("http://localhost:8443/42", timeout=10)
except urllib.error.HTTPError as error:
    print(f"without a token: {error.code}", flush=True)
