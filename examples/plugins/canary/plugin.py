"""Says which users are in a canary's share, always the same ones, in a header.

The share is by a hash of the user, so raising it keeps those who were there, and several machines agree without talking.
"""

import hashlib


def make(settings):
    def request(request):
        user = request.headers.get(settings["userHeader"]) or request.client
        digest = hashlib.sha256(f"{settings['salt']}/{user}".encode()).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64 * 100
        request.headers["x-canary"] = "yes" if place < settings["percent"] else "no"

    return request
