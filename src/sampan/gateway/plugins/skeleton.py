"""The files of a new plugin: code, manifest, recorded requests, and the objects that put it to work."""

from __future__ import annotations

from pathlib import Path

HOOK = '''"""Asked before each request of its routes is routed."""


def make(settings):
    header, value = settings["header"], settings["value"]

    def request(request):
        request.response_headers[header] = value

    return request
'''
ASGI = '''"""Stands around the routes that use it; requests and answers pass through."""


class Middleware:
    def __init__(self, app, *, header, value):
        self.app, self.pair = app, (header.lower().encode(), value.encode())

    async def __call__(self, scope, receive, send):
        async def marked(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), self.pair]
            await send(message)

        await self.app(scope, receive, marked)
'''
PROCESSOR = '''"""Runs in a process of its own; sees what it has a method for."""


class Processor:
    def __init__(self, *, header, value):
        self.header, self.value = header, value

    def response_headers(self, exchange):
        exchange.response.headers[self.header] = self.value

    async def response_body(self, exchange, chunks):
        async for chunk in chunks:
            yield chunk
'''
CODE = {"hook": HOOK, "asgi": ASGI, "processor": PROCESSOR}
ENTRY = {
    "hook": 'factory = "plugin:make"',
    "asgi": 'entry-point = "plugin:Middleware"',
    "processor": 'entry-point = "plugin:Processor"',
}

MANIFEST = """name = "NAME"
kind = "KIND"
ENTRY

[settings]
type = "object"
properties.header = {type = "string", default = "x-NAME"}
properties.value = {type = "string", default = "yes"}
"""
REQUESTS = """# sampan gateway plugin test DIRECTORY
requests:
  - name: an answer is marked
    request: {path: /}
    backend: {status: 200, body: hello}
    expect: {status: 200, body: hello, headers: {x-NAME: "yes"}, backend: {path: /}}
"""
OBJECTS = """apiVersion: gateway.sampan.dev/v1alpha1
kind: Plugin
metadata: {name: NAME}
spec:
  path: PATH
  settings: {}
# in a rule of an HTTPRoute:
#   filters:
#     - type: ExtensionRef
#       extensionRef: {group: gateway.sampan.dev, kind: Plugin, name: NAME}
"""


def files(name: str, kind: str, path: Path) -> dict[str, str]:
    """Return the files of a new plugin by their name."""
    texts = {
        "plugin.py": CODE[kind],
        "plugin.toml": MANIFEST,
        "requests.yaml": REQUESTS,
        "plugin.yaml": OBJECTS,
    }
    words = {"NAME": name, "KIND": kind, "ENTRY": ENTRY[kind], "PATH": str(path)}
    for word, value in words.items():
        texts = {file: text.replace(word, value) for file, text in texts.items()}
    return texts
