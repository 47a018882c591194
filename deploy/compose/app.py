"""Any app: it calls two private services by their names, knows of no token, and has no library of Google's."""

import json
import urllib.request

for url in ("http://user-profiles-x7f3kq-uc.a.run.app/42", "http://billing-x7f3kq-uc.a.run.app/invoices"):
    with urllib.request.urlopen(url, timeout=10) as answer:
        told = json.load(answer)
    print(f"{told['service']} knows {told['caller']}", flush=True)
