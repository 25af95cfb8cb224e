"""The OpenID discovery of the ServiceAccount issuer: how others verify our tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from sampan.api.request import Request, Response
from sampan.api.tokens import Tokens

if TYPE_CHECKING:
    from sampan.api.app import Api


def add(api: Api, tokens: Tokens) -> None:
    """Serve ``/.well-known/openid-configuration`` and ``/openid/v1/jwks``."""

    async def configuration(request: Request) -> Response:
        return Response(orjson.dumps(tokens.configuration()))

    async def keys(request: Request) -> Response:
        return Response(orjson.dumps(tokens.key_set()), content_type="application/jwk-set+json")

    api.route("/.well-known/openid-configuration", configuration)
    api.route("/openid/v1/jwks", keys)
