"""Any app that is to be called by some: it checks nothing, and reads who calls where Cloud Run's and IAP's apps read it."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Orders(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        caller = self.headers.get("X-Goog-Authenticated-User-Email", "").removeprefix("accounts.google.com:")
        body = json.dumps({"path": self.path, "caller": caller or None}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", 3000), Orders).serve_forever()
