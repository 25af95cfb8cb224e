"""Lets only signed requests pass: HMAC-SHA256 over "<timestamp>\n<method>\n<path with query>", as hex, in a header."""

import hmac
import time


def make(settings):
    keys = {name: key.encode() for name, key in settings["keys"].items()}

    def request(request):
        name = request.headers.get("x-key", "")
        stamp = request.headers.get("x-timestamp", "")
        if name not in keys or not stamp.isdecimal():
            return request.respond(401, "not signed\n", {"www-authenticate": "HMAC-SHA256"})
        if settings["maxAgeSeconds"] and abs(time.time() - int(stamp)) > settings["maxAgeSeconds"]:
            return request.respond(401, "the signature is too old\n")
        text = f"{stamp}\n{request.method}\n{request.path}".encode()
        wanted = hmac.digest(keys[name], text, "sha256").hex()
        if not hmac.compare_digest(wanted.encode(), request.headers.get("x-signature", "").encode()):
            return request.respond(403, "the signature is wrong\n")
        request.headers["x-user"] = name
        del request.headers["x-signature"]
        return None

    return request
