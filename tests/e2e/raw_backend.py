"""A server that keeps what it is sent, byte by byte, and answers each request it makes out: none of a proxy's leniency."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from typing import Any


class Request:
    """One request as it came: the lines of its head, and its body with the framing taken off."""

    def __init__(self, head: bytes, body: bytes) -> None:
        self.head, self.body = head, body
        self.line, *self.fields = head.decode("latin-1").split("\r\n")

    @property
    def path(self) -> str:
        return self.line.split(" ")[1]

    def header(self, name: str) -> str | None:
        found = [field.partition(":")[2].strip() for field in self.fields if field.lower().startswith(f"{name}:")]
        return ",".join(found) if found else None


class RawBackend(socketserver.ThreadingTCPServer):
    """``requests``: all that came; ``strange``: what came and is no request."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, address: str = "127.0.0.1") -> None:
        super().__init__((address, 0), Handler)
        self.requests: list[Request] = []
        self.strange: list[bytes] = []
        self.stalls = threading.Event()
        """Set: bodies of requests are not read."""
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def end(self) -> None:
        self.shutdown()
        self.server_close()


class Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            self.serve(self.server, self.request)

    def serve(self, server: Any, connection: socket.socket) -> None:
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                more = connection.recv(65536)
                if not more:
                    if data:
                        server.strange.append(data)
                    return
                data += more
            head, _, data = data.partition(b"\r\n\r\n")
            request = Request(head, b"")
            server.requests.append(request)
            while server.stalls.is_set():
                server.stalls.wait(0.1)
                if self.gone(connection):
                    return
            request.body, data = self.body(request, data, connection)
            answer(request, connection)

    def gone(self, connection: socket.socket) -> bool:
        connection.settimeout(0.2)
        try:
            return not connection.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return False
        finally:
            connection.settimeout(None)

    def body(self, request: Request, data: bytes, connection: socket.socket) -> tuple[bytes, bytes]:
        def more(size: int) -> None:
            nonlocal data
            while len(data) < size:
                part = connection.recv(65536)
                if not part:
                    raise ConnectionError("the body ends too early")
                data += part

        if "chunked" in (request.header("transfer-encoding") or ""):
            whole = b""
            while True:
                while b"\r\n" not in data:
                    more(len(data) + 1)
                line, _, data = data.partition(b"\r\n")
                size = int(line.split(b";")[0], 16)
                more(size + 2)
                whole, data = whole + data[:size], data[size + 2 :]
                if not size:
                    return whole, data
        size = int(request.header("content-length") or 0)
        more(size)
        return data[:size], data[size:]


def answer(request: Request, connection: socket.socket) -> None:
    """Answer with the path; ``/big``: with 200 MB, for as long as somebody reads."""
    if request.path == "/big":
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 200000000\r\n\r\n")
        for _ in range(200):
            connection.sendall(b"x" * 1_000_000)
        return
    text = request.path.encode()
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text))
