"""The storefront: one page made of the catalog and the orders, found by their names in DNS."""

import html
import json
import os
import signal
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.request import Request, urlopen

CATALOG, ORDERS, TOKEN = os.environ["CATALOG"], os.environ["ORDERS"], os.environ["SHOP_TOKEN"]


def ask(url, method="GET"):
    with urlopen(Request(url, method=method, headers={"Authorization": f"Bearer {TOKEN}"}), timeout=5) as answer:
        return json.load(answer)


def page():
    catalog, book = ask(f"http://{CATALOG}:8080/products"), ask(f"http://{ORDERS}/book")
    replicas = len({address[4][0] for address in socket.getaddrinfo(CATALOG, 8080, socket.AF_INET)})
    rows = "".join(
        f"<tr><td>{html.escape(item['name'])}<td>{item['price']:.2f}<td>{book['stock'].get(item['id'], 0)} left"
        f"<td>{book['sold'].get(item['id'], 0)} sold"
        f"<td><form method=post action=/buy/{item['id']}><button>Buy</button></form>\n"
        for item in catalog["products"]
    )
    return f"""<!doctype html><meta charset=utf-8><title>{html.escape(os.environ["SHOP_NAME"])}</title>
<style>body{{font:18px/1.6 system-ui;max-width:44rem;margin:3rem auto;padding:0 1rem}}td{{padding:.2rem 1rem}}</style>
<h1>{html.escape(os.environ["SHOP_NAME"])}</h1><table>{rows}</table>
<p><small>Served by {os.environ["POD_NAME"]} on {os.environ["NODE_NAME"]}; catalog from {catalog["pod"]}, one of
{replicas}.</small>
"""


class Storefront(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, code, body, **headers):
        content = body.encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self):
        if self.path == "/healthz":
            return self.answer(200, "ok")
        if self.path != "/":
            return self.answer(404, "there is no such page")
        try:
            return self.answer(200, page())
        except OSError as error:
            return self.answer(502, f"the shop is not complete yet: {html.escape(str(error))}")

    def do_POST(self):
        try:
            ask(f"http://{ORDERS}/sales/{self.path.rpartition('/')[2]}", "POST")
        except HTTPError as error:
            return self.answer(error.code, "sold out")
        return self.answer(303, "", Location="/")


# the first process of a container must say itself that it ends on SIGTERM
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
ThreadingHTTPServer(("", 8080), Storefront).serve_forever()
