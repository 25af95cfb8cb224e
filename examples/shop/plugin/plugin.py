"""The shop's plugin: marks every answer, and keeps a curious path shut. Edit it: the next request meets the new code."""


def request(request):
    if request.path.startswith("/admin"):
        return request.respond(403, "nothing to see here\n")
    request.headers["x-shop-visitor"] = request.client
    request.response_headers["x-shop-mark"] = "steered by plugin.py"
    return None
