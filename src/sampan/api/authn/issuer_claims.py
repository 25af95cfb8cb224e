"""From the claims of a verified JWT to a user: what an issuer's configuration says of claims. Pure.

Names and groups come from a claim with a prefix or from an expression (CEL, compiled when the configuration is read); rules
on claims and on the user refuse. Source: apiserver.config.k8s.io AuthenticationConfiguration (JWTAuthenticator); KEP-3331.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sampan.api.authn.known import BadToken, with_everyone
from sampan.api.flags import FlagError
from sampan.api.request import User
from sampan.api.resources.reading import items, mapping, text
from sampan.schema.objects import Object

if TYPE_CHECKING:
    from sampan.schema.cel.environment import Environment

Claims = Mapping[str, Any]


def environment_of(variable: str, version: str) -> Environment:
    """Return what an expression over ``claims`` or ``user`` may use."""
    from sampan.schema.cel import types
    from sampan.schema.cel.admission import USER
    from sampan.schema.cel.environment import environment

    kind = USER if variable == "user" else types.map_of(types.STRING, types.DYN)
    found = environment(version, {variable: kind}, stored=True)
    found.roots = {}
    return found


class Expression:
    """A CEL expression over ``claims`` or ``user``."""

    def __init__(self, source: str, variable: str, version: str, at: str) -> None:
        from sampan.schema.cel.errors import CelError
        from sampan.schema.cel.program import compile

        try:
            self._program = compile(source, environment_of(variable, version))
        except CelError as error:
            raise FlagError(f"{at}: {error}") from error
        self._variable, self._at = variable, at

    def value(self, given: Claims) -> Any:
        """Raises ``BadToken`` where it cannot be evaluated."""
        from sampan.schema.cel.errors import CelError

        try:
            return self._program.evaluate({self._variable: given})
        except CelError as error:
            raise BadToken(f"{self._at}: {error}") from error


class Mapped:
    """A claim with a prefix, or an expression."""

    def __init__(self, given: Object, version: str, at: str) -> None:
        self.claim, self.prefix = text(given, "claim"), text(given, "prefix")
        source = text(given, "expression")
        if bool(self.claim) == bool(source):
            raise FlagError(f"{at}: exactly one of claim and expression is required")
        self._expression = Expression(source, "claims", version, f"{at}.expression") if source else None

    def value(self, claims: Claims) -> Any:
        return self._expression.value(claims) if self._expression is not None else claims.get(self.claim)

    @property
    def is_claim(self) -> bool:
        return self._expression is None


class ClaimRules:
    """What one issuer's configuration makes of claims. Raises ``FlagError`` for a configuration that is none."""

    def __init__(self, jwt: Object, version: str, at: str) -> None:
        mappings = mapping(jwt, "claimMappings")
        self._username = Mapped(mapping(mappings, "username"), version, f"{at}.claimMappings.username")
        groups, uid = mapping(mappings, "groups"), mapping(mappings, "uid")
        self._groups = Mapped(groups, version, f"{at}.claimMappings.groups") if groups else None
        self._uid = Mapped(uid, version, f"{at}.claimMappings.uid") if uid else None
        self._extra = [
            (text(entry, "key"), Expression(text(entry, "valueExpression"), "claims", version, f"{at}.extra[{index}]"))
            for index, entry in enumerate(items(mappings, "extra"))
        ]
        self._required: list[tuple[str, str]] = []
        self._claim_rules: list[tuple[Expression, str]] = []
        for index, rule in enumerate(items(jwt, "claimValidationRules")):
            where = f"{at}.claimValidationRules[{index}]"
            if rule.get("claim"):
                self._required.append((rule["claim"], text(rule, "requiredValue")))
            else:
                source = text(rule, "expression")
                self._claim_rules.append((Expression(source, "claims", version, where), message_of(rule, source)))
        self._user_rules = [
            (
                Expression(text(rule, "expression"), "user", version, f"{at}.userValidationRules[{index}]"),
                message_of(rule, text(rule, "expression")),
            )
            for index, rule in enumerate(items(jwt, "userValidationRules"))
        ]

    @property
    def groups_claim(self) -> str:
        """The claim that groups come from, "" where it is none: it may be told elsewhere."""
        return self._groups.claim if self._groups is not None else ""

    def user(self, claims: Claims) -> User:
        """Return the user of a token's claims. Raises ``BadToken``."""
        for claim, value in self._required:
            if claims.get(claim) != value:
                raise BadToken(f"oidc: required claim {claim} value does not match")
        for expression, message in self._claim_rules:
            if expression.value(claims) is not True:
                raise BadToken(f"oidc: {message}")
        uid = self._uid.value(claims) if self._uid is not None else ""
        extra = {key: strings(expression.value(claims), key) for key, expression in self._extra}
        made = User(
            self._name(claims),
            with_everyone(self._groups_of(claims)),
            uid if isinstance(uid, str) else "",
            {key: values for key, values in extra.items() if values},
        )
        for expression, message in self._user_rules:
            if expression.value(seen(made)) is not True:
                raise BadToken(f"oidc: {message}")
        return made

    def _name(self, claims: Claims) -> str:
        name = self._username.value(claims)
        if not isinstance(name, str) or not name:
            raise BadToken(f"oidc: parse username claims {self._username.claim!r}: it is no text, or empty")
        if (
            self._username.is_claim
            and self._username.claim == "email"
            and claims.get("email_verified", True) is not True
        ):
            raise BadToken("oidc: email not verified")
        return self._username.prefix + name

    def _groups_of(self, claims: Claims) -> list[str]:
        if self._groups is None:
            return []
        return [self._groups.prefix + group for group in strings(self._groups.value(claims), "groups")]


def message_of(rule: Object, source: str) -> str:
    return text(rule, "message") or f"validation expression '{source}' failed"


def strings(value: Any, what: str) -> tuple[str, ...]:
    """Return a text or a list of texts as a list; nothing as none. Raises ``BadToken``."""
    if value is None or value == "":
        return ()
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(entry, str) for entry in listed):
        raise BadToken(f"oidc: {what} is neither a text nor a list of texts")
    return tuple(listed)


def seen(user: User) -> Object:
    """Return a user as rules see it (authentication.k8s.io/v1 UserInfo)."""
    extra = {key: list(values) for key, values in user.extra.items()}
    return {"username": user.name, "uid": user.uid, "groups": list(user.groups), "extra": extra}
