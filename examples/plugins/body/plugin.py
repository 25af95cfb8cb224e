"""Takes fields out of JSON answers, however deep, and leaves every other answer as it is."""

import json


class Rewrite:
    def __init__(self, app, *, remove, maxBytes):
        self.app, self.remove, self.most = app, frozenset(remove), maxBytes

    async def __call__(self, scope, receive, send):
        start, body = None, b""

        async def rewritten(message):
            nonlocal start, body
            if message["type"] == "http.response.start":
                headers = dict(message["headers"])
                is_json = headers.get(b"content-type", b"").startswith(b"application/json")
                length = int(headers.get(b"content-length", b"0"))
                if is_json and b"content-encoding" not in headers and length <= self.most:
                    start = message  # held back: its length will be another
                    return
            if start is None:
                await send(message)
                return
            body += message.get("body", b"")
            if len(body) > self.most:  # longer than it may be: what was held back goes on as it came
                first, start = start, None
                await send(first)
                await send({**message, "body": body})
            elif not message.get("more_body"):
                body = self.without(body)
                kept = [pair for pair in start["headers"] if pair[0] != b"content-length"]
                await send({**start, "headers": [*kept, (b"content-length", str(len(body)).encode())]})
                await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, rewritten)

    def without(self, body):
        try:
            return json.dumps(json.loads(body, object_hook=self.cleaned)).encode()
        except ValueError:
            return body

    def cleaned(self, found):  # of each object, as the parser has made it
        for name in self.remove:
            found.pop(name, None)
        return found
