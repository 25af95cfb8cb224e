"""The catalog: what the shop sells, read from a ConfigMap. Several replicas stand behind a headless Service."""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PRODUCTS = json.loads(Path("/etc/catalog/products.json").read_text())


class Catalog(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        answer = {"pod": os.environ["POD_NAME"], "products": PRODUCTS}
        found = {"/healthz": "ok", "/products": answer}.get(self.path)
        body = json.dumps(found or {"error": "not found"}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


# the first process of a container must say itself that it ends on SIGTERM
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
ThreadingHTTPServer(("", 8080), Catalog).serve_forever()
