"""The authenticators of one API, in kube-apiserver's order: front proxy, client certificate, then bearer tokens.

The first that knows the caller wins; one that refuses is only heard when no later one knows him. All answer from caches;
only a token that somebody else has to be asked about (OIDC keys, a webhook) makes the answer an awaitable.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING

from sampan.api.authn.bootstrap_tokens import BootstrapTokens
from sampan.api.authn.certificates import Certificates
from sampan.api.authn.known import BadToken, Known, TokenAuthenticator
from sampan.api.authn.request_header import RequestHeader
from sampan.api.authn.service_accounts import ServiceAccounts
from sampan.api.errors import StatusError, unauthorized
from sampan.api.flags import FlagError, Flags
from sampan.api.remote import Remote
from sampan.api.request import User
from sampan.api.resources.reading import items
from sampan.api.tokens import Tokens

if TYPE_CHECKING:
    from sampan.api.app import Api
    from sampan.api.authn.oidc import OpenIdConnect


ANONYMOUS = "AnonymousAuthConfigurableEndpoints"


class Authenticators:
    """Knows the users of one API. The TLS layer has verified the certificates."""

    def __init__(self, api: Api, tokens: Tokens, flags: Flags | None = None) -> None:
        flags = flags or Flags()
        self.tokens = tokens
        self.open_id_connect: OpenIdConnect | None = None
        self._anonymous_auth = flags.anonymous_auth
        self.audiences = tokens.audiences
        self.request_header = RequestHeader(flags, uid=api.features.enabled("RemoteRequestHeaderUID"))
        self.certificates = Certificates()
        self.of_tokens: list[TokenAuthenticator] = [ServiceAccounts(api, tokens)]
        if flags.enable_bootstrap_token_auth:
            self.of_tokens.append(BootstrapTokens(api, tokens.audiences))
        self._add_remote(api, flags, tokens)

    def _add_remote(self, api: Api, flags: Flags, tokens: Tokens) -> None:
        """Add who verifies tokens with the help of others. Raises ``FlagError``."""
        if flags.authentication_config is not None and flags.oidc_issuer_url:
            raise FlagError("authentication-config file and oidc-* flags are mutually exclusive")
        gate = "StructuredAuthenticationConfiguration"
        if flags.authentication_config is not None and not api.features.past(gate):
            raise FlagError(f"set --feature-gates={gate}=true to use authentication-config file")
        if flags.authentication_config is not None or flags.oidc_issuer_url:
            from sampan.api.authn.oidc import OpenIdConnect

            self.open_id_connect = OpenIdConnect(flags, self.audiences, api.types.version, tokens.issuer)
            if self.open_id_connect.anonymous is not None and not api.features.past(ANONYMOUS):
                raise FlagError(f"anonymous is not supported when {ANONYMOUS} feature gate is disabled")
            self.of_tokens.append(self.open_id_connect)
            api.closing.append(self.open_id_connect.close)
        if flags.authentication_token_webhook_config_file is not None:
            from sampan.api.authn.webhook import TokenWebhook

            remote = Remote(flags.authentication_token_webhook_config_file)
            version = flags.authentication_token_webhook_version
            webhook = TokenWebhook(remote, version, flags.authentication_token_webhook_cache_ttl, self.audiences)
            self.of_tokens.append(webhook)
            api.closing.append(webhook.close)

    def anonymous(self, path: str) -> bool:
        """Whether a path may be asked for by somebody unknown."""
        given = self.open_id_connect.anonymous if self.open_id_connect is not None else None
        if given is None:
            return self._anonymous_auth
        conditions = items(given, "conditions")
        return bool(given.get("enabled")) and (not conditions or any(c.get("path") == path for c in conditions))

    def authenticate(
        self, headers: Mapping[str, str], peer_certificate_der: bytes | None, front_proxy_der: bytes | None = None
    ) -> User | Awaitable[User | None] | None:
        """Return who asks, None where nothing says it. Raises 401, at once or when awaited."""
        if front_proxy_der is not None:
            user = self.request_header.authenticate(headers, front_proxy_der)
            if user is not None:
                return user
        refused: StatusError | None = None
        if peer_certificate_der is not None:
            try:
                return self.certificates.authenticate(peer_certificate_der)
            except StatusError as error:
                refused = error
        token = bearer(headers.get("authorization", "")) or websocket_token(headers)
        if not token:
            if refused is not None:
                raise refused
            return None
        try:
            found = self.by_token(token)
        except BadToken:
            raise unauthorized() from None
        return found.user if isinstance(found, Known) else user_of(found)

    def by_token(self, token: str, audiences: Sequence[str] = ()) -> Known | Awaitable[Known]:
        """Return who bears a token that is good for one of ``audiences`` (none: the API's own). Raises ``BadToken``, at
        once or when awaited."""
        asked = tuple(audiences) or self.audiences
        errors: list[str] = []
        for position, authenticator in enumerate(self.of_tokens):
            try:
                found = authenticator.authenticate(token, asked)
            except BadToken as error:
                errors.append(str(error))
                continue
            if isinstance(found, Known):
                return found
            if found is not None:
                return self._await(found, token, asked, position + 1, errors)
        raise BadToken(", ".join(errors))

    async def _await(
        self, pending: Awaitable[Known | None], token: str, asked: Sequence[str], position: int, errors: list[str]
    ) -> Known:
        try:
            known = await pending
            if known is not None:
                return known
        except BadToken as error:
            errors.append(str(error))
        for at in range(position, len(self.of_tokens)):
            try:
                found = self.of_tokens[at].authenticate(token, asked)
                known = found if found is None or isinstance(found, Known) else await found
                if known is not None:
                    return known
            except BadToken as error:
                errors.append(str(error))
        raise BadToken(", ".join(errors))


async def user_of(pending: Awaitable[Known]) -> User:
    """Return the user of a token that was asked about. Raises 401."""
    try:
        return (await pending).user
    except BadToken:
        raise unauthorized() from None


def bearer(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def websocket_token(headers: Mapping[str, str]) -> str:
    """Return the token a browser sends as a WebSocket subprotocol (``base64url.bearer.authorization.k8s.io.<token>``)."""
    prefix = "base64url.bearer.authorization.k8s.io."
    for protocol in headers.get("sec-websocket-protocol", "").split(","):
        encoded = protocol.strip()
        if encoded.startswith(prefix):
            import base64

            encoded = encoded[len(prefix) :]
            try:
                return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
            except ValueError:
                raise unauthorized() from None
    return ""
