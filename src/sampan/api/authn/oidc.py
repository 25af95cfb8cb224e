"""OpenID Connect: JWTs of other issuers, verified by the keys that each publishes.

A token says who issued it; the issuer's discovery document says where its keys are. Keys are read with the first token and
again when one is signed by a key that is not known (rotation); a token that was verified is known until it expires. Issuers
come from the ``--oidc-*`` flags or from an AuthenticationConfiguration file, which is read again when it was replaced.
Source: OpenID Connect Discovery 1.0, RFC 7517, RFC 7519; KEP-3331.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from sampan.api.authn.issuer_claims import ClaimRules
from sampan.api.authn.known import BadToken, Known, cache, common, weight
from sampan.api.flags import FlagError, Flags
from sampan.api.remembered import Remembered
from sampan.api.request import User
from sampan.api.resources.reading import items, mapping, text
from sampan.api.tokens import issuer_of
from sampan.schema.objects import Object

if TYPE_CHECKING:
    import aiohttp

logger = logging.getLogger("sampan.api")

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")
FETCH_SECONDS = 10.0
NEVER = (0, 0)


class Issuer:
    """One issuer: its keys, and what its tokens are turned into."""

    def __init__(self, jwt: Object, version: str, at: str, algorithms: Sequence[str] = ALGORITHMS) -> None:
        given = mapping(jwt, "issuer")
        self.url = text(given, "url")
        if not self.url.startswith("https://"):
            raise FlagError(f"{at}.issuer.url: URL scheme must be https")
        self._discovery = text(given, "discoveryURL") or f"{self.url.rstrip('/')}/.well-known/openid-configuration"
        self._audiences = [str(audience) for audience in items(given, "audiences")]
        if not self._audiences:
            raise FlagError(f"{at}.issuer.audiences: at least one audience is required")
        self._authority = text(given, "certificateAuthority")
        self._algorithms = list(algorithms)
        self._rules = ClaimRules(jwt, version, at)
        self._keys: dict[str, Any] = {}
        self._reading: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None
        self._known: Remembered[str, tuple[float, User]] = cache()
        self._version, self._at = version, at
        self._sources: dict[str, Issuer] = {}
        """Who signs what distributed claims are read from (OpenID Connect Core 5.6.2)."""

    def authenticate(self, token: str, audiences: tuple[str, ...]) -> Known | Awaitable[Known]:
        """Return who bears a token of this issuer. Raises ``BadToken``, at once or when awaited."""
        known = self._known.get(token)
        if known is not None and known[0] > time.time():
            return Known(known[1], audiences)
        key = self._key(token)
        return self._asked(token, audiences) if key is None else self._verified(token, key, audiences)

    def _key(self, token: str) -> Any:
        """Return the key that signed a token, None where it is not known (yet)."""
        import jwt

        try:
            kid = jwt.get_unverified_header(token).get("kid")
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise BadToken(f"oidc: {error}") from error
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid or "")

    async def _asked(self, token: str, audiences: tuple[str, ...]) -> Known:
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read_keys(), name="oidc-keys")
        reading = self._reading
        try:
            await asyncio.shield(reading)
        finally:
            if reading.done() and self._reading is reading:
                self._reading = None
        key = self._key(token)
        if key is None:
            raise BadToken("oidc: verify token: failed to verify signature: no key of the issuer has signed it")
        found = self._verified(token, key, audiences)
        return found if isinstance(found, Known) else await found

    def _verified(self, token: str, key: Any, audiences: tuple[str, ...]) -> Known | Awaitable[Known]:
        claims = self._claims(token, key)
        source = source_of(claims, self._rules.groups_claim)
        if source is not None:
            return self._distributed(token, claims, source, audiences)
        return self._user(token, claims, audiences)

    def _user(self, token: str, claims: Object, audiences: tuple[str, ...]) -> Known:
        user = self._rules.user(claims)
        self._known.put(token, (float(claims["exp"]), user), len(token) + weight(user))
        return Known(user, audiences)

    async def _distributed(self, token: str, claims: Object, source: Object, audiences: tuple[str, ...]) -> Known:
        """Return the user of a token whose groups are told elsewhere, in a token of their own. Raises ``BadToken``."""
        name, endpoint = self._rules.groups_claim, text(source, "endpoint")
        told = await self._text(endpoint, text(source, "access_token"))
        issuer = self._source(issuer_of(told))
        key = issuer._key(told)
        if key is None:
            await issuer._read_keys()
            key = issuer._key(told)
        if key is None:
            raise BadToken("oidc: verify distributed claim token: failed to verify signature")
        found = issuer._claims(told, key)
        if name not in found:
            raise BadToken(
                f'oidc: jwt returned by distributed claim endpoint "{endpoint}" did not contain claim: {name}'
            )
        return self._user(token, {**claims, name: found[name]}, audiences)

    def _source(self, url: str) -> Issuer:
        if url == self.url:
            return self
        if url not in self._sources:
            given = {"url": url, "audiences": self._audiences, "certificateAuthority": self._authority}
            mappings = {"username": {"claim": "sub", "prefix": ""}}
            entry = {"issuer": given, "claimMappings": mappings}
            try:
                self._sources[url] = Issuer(entry, self._version, self._at, self._algorithms)
            except FlagError as error:
                raise BadToken(f"oidc: verify distributed claim token: {error}") from None
        return self._sources[url]

    def _claims(self, token: str, key: Any) -> Object:
        """Return the claims of a token that a key has signed. Raises ``BadToken``."""
        import jwt

        try:
            claims: Object = jwt.decode(
                token,
                key,
                algorithms=self._algorithms,
                audience=self._audiences,
                issuer=self.url,
                options={"require": ["exp"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise BadToken(f"oidc: verify token: {error}") from error
        return claims

    async def _read_keys(self) -> None:
        """Read the discovery document and the keys. Raises ``BadToken``."""
        document = await self._fetch(self._discovery)
        if document.get("issuer") != self.url:
            raise BadToken(f"oidc: issuer did not match: expected {self.url!r} got {document.get('issuer')!r}")
        listed = await self._fetch(str(document.get("jwks_uri", "")))
        import jwt

        keys: dict[str, Any] = {}
        for number, entry in enumerate(items(listed, "keys")):
            try:
                keys[str(entry.get("kid", number))] = jwt.PyJWK(entry).key
            except jwt.PyJWTError as error:
                logger.warning("a key of %s cannot be used: %s", self.url, error)
        self._keys = keys

    async def _text(self, url: str, token: str) -> str:
        """Return what an endpoint of distributed claims answers: a token."""
        import aiohttp

        if not url.startswith("https://"):
            raise BadToken(f"oidc: distributed claim endpoint {url!r}: URL scheme must be https")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            async with self._open().get(url, headers=headers, allow_redirects=False) as answer:
                body = await answer.text()
                if answer.status != 200:
                    raise BadToken(f'oidc: error while getting distributed claim JWT: {answer.status}: "{body[:200]}"')
                return body.strip()
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise BadToken(f"oidc: while getting distributed claim: {url}: {error}") from error

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            context = ssl.create_default_context(cadata=self._authority or None)
            connector = aiohttp.TCPConnector(ssl=context)
            timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        return self._session

    async def _fetch(self, url: str) -> Object:
        import aiohttp

        try:
            async with self._open().get(url) as answer:
                body = await answer.read()
                found = orjson.loads(body) if answer.status == 200 else None
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise BadToken(f"oidc: authenticator for issuer {self.url!r} is not initialized: {url}: {error}") from error
        if not isinstance(found, dict):
            raise BadToken(f"oidc: {url} answered {answer.status}")
        return found

    async def close(self) -> None:
        for source in self._sources.values():
            await source.close()
        if self._session is not None:
            await self._session.close()


def source_of(claims: Object, name: str) -> Object | None:
    """Return where a claim is told that is not in a token itself, None where it is, or nowhere. Raises ``BadToken``."""
    if not name or name in claims or name not in mapping(claims, "_claim_names"):
        return None
    source = mapping(claims, "_claim_names")[name]
    found = mapping(claims, "_claim_sources", str(source))
    if not found.get("endpoint"):
        raise BadToken(f"oidc: the claim {name} is of the source {source}, which has no endpoint")
    return found


class OpenIdConnect:
    """The issuers of one API, by their URL."""

    def __init__(self, flags: Flags, audiences: Sequence[str], version: str, own_issuer: str = "") -> None:
        self._audiences, self._version, self._own_issuer = tuple(audiences), version, own_issuer
        self._file = flags.authentication_config
        self._state = self._refused = NEVER
        """Which file is in force, and which one was wrong: inode and time."""
        self.anonymous: Object | None = None
        """What an AuthenticationConfiguration says of the unknown."""
        self._issuers: dict[str, Issuer] = {}
        self._old: list[Issuer] = []
        if self._file is not None:
            self._read(self._file)
        elif flags.oidc_issuer_url:
            algorithms = flags.oidc_signing_algs
            self._issuers = {flags.oidc_issuer_url: Issuer(jwt_of(flags), version, "oidc", algorithms)}

    def _read(self, file: Path) -> None:
        from sampan.api.authn.configuration import read

        status = file.stat()
        configuration = read(file, self._version, self._own_issuer)
        if self._state != NEVER and configuration.get("anonymous") != self.anonymous:
            raise FlagError("anonymous: Forbidden: changed from initial configuration file")
        issuers = {}
        for index, entry in enumerate(items(configuration, "jwt")):
            issuer = Issuer(entry, self._version, f"jwt[{index}]")
            issuers[issuer.url] = issuer
        self._old += self._issuers.values()
        self._issuers, self.anonymous = issuers, configuration.get("anonymous")
        self._state = (status.st_ino, status.st_mtime_ns)

    def _follow(self) -> None:
        """Read a configuration that was replaced; one that is wrong leaves the old in force."""
        if self._file is None:
            return
        try:
            status = self._file.stat()
            state = status.st_ino, status.st_mtime_ns
            if state not in (self._state, self._refused):
                self._refused = state
                self._read(self._file)
                logger.info("the authentication configuration was read anew")
        except FlagError as error:
            logger.error("the authentication configuration stays as it was: %s", error)
        except OSError as error:  # this may pass: the next token looks again
            self._refused = NEVER
            logger.error("the authentication configuration cannot be read: %s", error)

    def authenticate(self, token: str, audiences: Sequence[str]) -> Known | Awaitable[Known | None] | None:
        good_for = common(audiences, self._audiences)
        url = issuer_of(token)
        if not url or not good_for:
            return None
        self._follow()
        issuer = self._issuers.get(url)
        return issuer.authenticate(token, good_for) if issuer is not None else None

    async def close(self) -> None:
        for issuer in (*self._issuers.values(), *self._old):
            await issuer.close()


def jwt_of(flags: Flags) -> Object:
    """Return the ``--oidc-*`` flags in the shape of an AuthenticationConfiguration."""
    if not flags.oidc_client_id:
        raise FlagError("oidc-issuer-url and oidc-client-id must be specified together")
    prefix = flags.oidc_username_prefix
    if prefix == "-":
        prefix = ""
    elif not prefix and flags.oidc_username_claim != "email":
        prefix = f"{flags.oidc_issuer_url}#"
    authority = flags.oidc_ca_file.read_text() if flags.oidc_ca_file is not None else ""
    mappings: Object = {"username": {"claim": flags.oidc_username_claim, "prefix": prefix}}
    if flags.oidc_groups_claim:
        mappings["groups"] = {"claim": flags.oidc_groups_claim, "prefix": flags.oidc_groups_prefix}
    rules = []
    for entry in flags.oidc_required_claim:
        claim, equals, value = entry.partition("=")
        if not equals:
            raise FlagError(f"oidc-required-claim {entry!r} is not of the form key=value")
        rules.append({"claim": claim, "requiredValue": value})
    issuer = {"url": flags.oidc_issuer_url, "audiences": [flags.oidc_client_id], "certificateAuthority": authority}
    return {"issuer": issuer, "claimMappings": mappings, "claimValidationRules": rules}
