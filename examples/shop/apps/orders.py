"""The orders: stock and sales, kept in a file on the pod's own volume. Writing asks for the token of a Secret."""

import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TOKEN = os.environ["SHOP_TOKEN"]
BOOK = Path("/var/orders/book.json")
lock = threading.Lock()


def change(update):
    """Apply ``update`` to the book; return the book, or None when there was nothing to sell."""
    with lock:
        book = json.loads(BOOK.read_text()) if BOOK.exists() else {"stock": {}, "sold": {}}
        if update(book) is False:
            return None
        BOOK.write_text(json.dumps(book))
        return book


def fill(stock):
    def update(book):
        book["stock"].update(stock)

    return update


def sell(product):
    def update(book):
        if book["stock"].get(product, 0) < 1:
            return False
        book["stock"][product] -= 1
        book["sold"][product] = book["sold"].get(product, 0) + 1
        return True

    return update


class Orders(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, code, document):
        body = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200, "ok" if self.path == "/healthz" else change(lambda book: None))

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer(401, {"error": "the token of Secret shop-token is asked for"})
        update = fill(json.loads(body)) if self.path == "/stock" else sell(self.path.rpartition("/")[2])
        book = change(update)
        return self.answer(200, book) if book else self.answer(409, {"error": "sold out"})


# the first process of a container must say itself that it ends on SIGTERM
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
ThreadingHTTPServer(("", 8080), Orders).serve_forever()
