"""Gives each visitor one of the variants, by weight, and a cookie that remembers it."""

import random
from http.cookies import CookieError, SimpleCookie


def make(settings):
    names = list(settings["variants"])
    weights = [settings["variants"][name] for name in names]
    cookie = settings["cookie"]

    def request(request):
        try:
            known = SimpleCookie(request.headers.get("cookie", ""))
        except CookieError:
            known = SimpleCookie()
        variant = known[cookie].value if cookie in known else ""
        if variant not in names:
            variant = random.choices(names, weights)[0]
            age = settings["days"] * 86400
            request.response_headers["set-cookie"] = f"{cookie}={variant}; Max-Age={age}; Path=/; SameSite=Lax"
        request.headers["x-variant"] = variant

    return request
