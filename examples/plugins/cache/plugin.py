"""Many clients that ask the same at the same time are one request to the backend, and its answer is kept for a while.

GET without cookies and authorization only; answers that say no-store, private or Set-Cookie are not kept.
"""

import asyncio
import time
from collections import OrderedDict


class Cache:
    def __init__(self, app, *, seconds, maxEntries, maxBytes):
        self.app, self.seconds, self.most, self.largest = app, seconds, maxEntries, maxBytes
        self.kept = OrderedDict()  # key -> (until, start, body)
        self.running = {}  # key -> future of (start, body), None when the answer may not be shared

    async def __call__(self, scope, receive, send):
        names = {name for name, _ in scope["headers"]}
        if scope["method"] != "GET" or names & {b"cookie", b"authorization", b"range"}:
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        key = (headers.get(b"host"), scope["path"], scope["query_string"])
        key += tuple(headers.get(name) for name in (b"accept", b"accept-encoding", b"accept-language"))
        found = self.kept.get(key)
        if found and found[0] > time.monotonic():
            await self.answer(send, found[1:], b"hit")
            return
        if key in self.running:
            shared = await asyncio.shield(self.running[key])
            if shared is not None:
                await self.answer(send, shared, b"shared")
                return
        await self.ask(key, scope, receive, send)

    async def ask(self, key, scope, receive, send):
        future = self.running.setdefault(key, asyncio.get_running_loop().create_future())
        start, body, shareable = None, b"", True

        async def seen(message):
            nonlocal start, body, shareable
            if message["type"] == "http.response.start":
                start = message
                shareable = self.may_keep(message)
                message = {**message, "headers": [*message["headers"], (b"x-cache", b"miss")]}
                if not shareable and not future.done():
                    future.set_result(None)  # those who wait ask for themselves
            elif shareable:
                body += message.get("body", b"")
                shareable = len(body) <= self.largest
            if message["type"] == "http.response.body" and not message.get("more_body") and shareable:
                self.keep(key, start, body)
                if not future.done():
                    future.set_result((start, body))
            await send(message)

        try:
            await self.app(scope, receive, seen)
        finally:
            if not future.done():
                future.set_result(None)
            if self.running.get(key) is future:
                del self.running[key]

    def may_keep(self, start):
        headers = dict(start["headers"])
        control = headers.get(b"cache-control", b"").lower()
        said = {b"set-cookie", b"vary"} & headers.keys()
        return start["status"] == 200 and not said and b"no-store" not in control and b"private" not in control

    def keep(self, key, start, body):
        self.kept[key] = (time.monotonic() + self.seconds, start, body)
        self.kept.move_to_end(key)
        while len(self.kept) > self.most:
            self.kept.popitem(last=False)

    async def answer(self, send, kept, how):
        start, body = kept
        await send({**start, "headers": [*start["headers"], (b"x-cache", how)], "trailers": False})
        await send({"type": "http.response.body", "body": body})
