"""An AuthenticationConfiguration file (``--authentication-config``) as kube-apiserver judges it. Pure but for the file.

``read`` returns what a file holds; everything that is wrong with it is said at once. What the entries do is
``oidc.py``'s and ``issuer_claims.py``'s. Source: apiserver pkg/apis/apiserver/validation; KEP-3331.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sampan.api.authn.issuer_claims import environment_of
from sampan.api.flags import FlagError
from sampan.api.resources.reading import items, mapping, text
from sampan.api.version import minor
from sampan.schema.causes import Cause, duplicate, invalid, required, too_many
from sampan.schema.cel import types
from sampan.schema.cel.admission import Compiled, compiled
from sampan.schema.names import dns1123_subdomain
from sampan.schema.objects import Object

GROUP = "apiserver.config.k8s.io"
KIND = "AuthenticationConfiguration"
VERSIONS = {"v1alpha1": 29, "v1beta1": 30, "v1": 34}
MAX_ISSUERS = 64
MATCH_ANY = "MatchAny"
EMAIL = re.compile(r"\bclaims\s*\.\s*\??\s*email\b")
VERIFIED = re.compile(r"\bclaims\s*\.\s*\??\s*email_verified\b")
RESERVED = ("k8s.io", "kubernetes.io")


def read(file: Path, version: str, own_issuer: str = "") -> Object:
    """Return the configuration of a file. ``own_issuer``: who signs our ServiceAccounts' tokens. Raises ``FlagError``."""
    import yaml

    try:
        found = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise FlagError(f"{file}: {error}") from error
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise FlagError(f"{file} holds no {KIND}")
    group, _, named = str(found.get("apiVersion")).rpartition("/")
    if group != GROUP or VERSIONS.get(named, 99) > minor(version):
        raise FlagError(f'{file}: no kind "{KIND}" is registered for version "{found.get("apiVersion")}"')
    wrong = [f"{cause.field}: {cause.message}" for cause in causes(found, version, own_issuer)]
    if wrong:
        raise FlagError(wrong[0] if len(wrong) == 1 else f"[{', '.join(wrong)}]")
    return found


def causes(configuration: Object, version: str, own_issuer: str = "") -> Iterator[Cause]:
    """Yield what is wrong with an AuthenticationConfiguration."""
    entries = items(configuration, "jwt")
    if len(entries) > MAX_ISSUERS:
        yield too_many("jwt", len(entries), MAX_ISSUERS)
        return
    urls: set[str] = set()
    discoveries: set[str] = set()
    for index, entry in enumerate(entries):
        at = f"jwt[{index}]"
        if not isinstance(entry, dict):
            yield invalid(at, entry, "an object is wanted")
            continue
        yield from Issuer(entry, version, own_issuer).causes(at)
        url, discovery = text(entry, "issuer", "url"), text(entry, "issuer", "discoveryURL")
        if url in urls:
            yield duplicate(f"{at}.issuer.url", url)
        if discovery and discovery in discoveries:
            yield duplicate(f"{at}.issuer.discoveryURL", discovery)
        urls.add(url)
        discoveries.add(discovery)
    anonymous = mapping(configuration, "anonymous")
    if not anonymous.get("enabled") and items(anonymous, "conditions"):
        conditions = items(anonymous, "conditions")
        yield invalid("anonymous.conditions", conditions, "enabled should be set to true when conditions are defined")


class Issuer:
    """One ``jwt`` entry."""

    def __init__(self, entry: Object, version: str, own_issuer: str) -> None:
        self._entry, self._own_issuer = entry, own_issuer
        self._claims = environment_of("claims", version)
        self._user = environment_of("user", version)

    def causes(self, at: str) -> Iterator[Cause]:
        yield from self._issuer(mapping(self._entry, "issuer"), f"{at}.issuer")
        yield from self._claim_rules(items(self._entry, "claimValidationRules"), f"{at}.claimValidationRules")
        yield from self._mappings(mapping(self._entry, "claimMappings"), f"{at}.claimMappings")
        yield from self._user_rules(items(self._entry, "userValidationRules"), f"{at}.userValidationRules")

    def _issuer(self, issuer: Object, at: str) -> Iterator[Cause]:
        url, discovery = text(issuer, "url"), text(issuer, "discoveryURL")
        if not url:
            yield required(f"{at}.url")
        else:
            if url == self._own_issuer:
                yield invalid(f"{at}.url", url, f"URL must not overlap with disallowed issuers: [{url}]")
            yield from url_causes(url, f"{at}.url")
        if discovery:
            if url and url.rstrip("/") == discovery.rstrip("/"):
                yield invalid(f"{at}.discoveryURL", discovery, "discoveryURL must be different from URL")
            yield from url_causes(discovery, f"{at}.discoveryURL")
        yield from audience_causes(items(issuer, "audiences"), text(issuer, "audienceMatchPolicy"), at)
        authority = text(issuer, "certificateAuthority")
        if authority and not is_bundle(authority):
            why = "data does not contain any valid RSA or ECDSA certificates"
            yield invalid(f"{at}.certificateAuthority", "<omitted>", why)
        if "egressSelectorType" in issuer:
            gate = "StructuredAuthenticationConfigurationEgressSelector"
            why = f"egress selector is not supported when {gate} feature gate is disabled"
            yield invalid(f"{at}.egressSelectorType", issuer["egressSelectorType"], why)

    def _claim_rules(self, rules: list[Any], at: str) -> Iterator[Cause]:
        claims: set[str] = set()
        expressions: set[str] = set()
        for index, rule in enumerate(rules):
            path, claim, expression = f"{at}[{index}]", text(rule, "claim"), text(rule, "expression")
            if claim and expression:
                yield invalid(path, claim, "claim and expression can't both be set")
            elif claim:
                if text(rule, "message"):
                    yield invalid(f"{path}.message", text(rule, "message"), "may not be specified when claim is set")
                if claim in claims:
                    yield duplicate(f"{path}.claim", claim)
                claims.add(claim)
            elif expression:
                value = text(rule, "requiredValue")
                if value:
                    yield invalid(f"{path}.requiredValue", value, "may not be specified when expression is set")
                if expression in expressions:
                    yield duplicate(f"{path}.expression", expression)
                else:
                    yield from self._judged(expression, f"{path}.expression", (types.BOOL,))
                expressions.add(expression)
            else:
                yield required(path, "claim or expression is required")

    def _mappings(self, mappings: Object, at: str) -> Iterator[Cause]:
        for key in ("username", "groups"):
            yield from self._prefixed(mapping(mappings, key), f"{at}.{key}", needed=key == "username")
        uid = mapping(mappings, "uid")
        if text(uid, "claim") and text(uid, "expression"):
            yield invalid(f"{at}.uid", "", "claim and expression can't both be set")
        elif text(uid, "expression"):
            yield from self._judged(text(uid, "expression"), f"{at}.uid.expression")
        yield from self._extra(items(mappings, "extra"), f"{at}.extra")
        username = text(mappings, "username", "expression")
        if EMAIL.search(username) and not any(map(VERIFIED.search, self._that_may_verify(mappings))):
            own = "claimMappings.username.expression"
            used = f"{own} or claimMappings.extra[*].valueExpression or claimValidationRules[*].expression"
            why = f"claims.email_verified must be used in {used} when claims.email is used in {own}"
            yield invalid(f"{at}.username.expression", username, why)

    def _that_may_verify(self, mappings: Object) -> Iterable[str]:
        yield text(mappings, "username", "expression")
        yield from (text(entry, "valueExpression") for entry in items(mappings, "extra"))
        yield from (text(rule, "expression") for rule in items(self._entry, "claimValidationRules"))

    def _prefixed(self, given: Object, at: str, *, needed: bool) -> Iterator[Cause]:
        claim, expression = text(given, "claim"), text(given, "expression")
        if claim and expression:
            yield invalid(at, "", "claim and expression can't both be set")
        elif expression:
            if "prefix" in given:
                yield invalid(f"{at}.prefix", given["prefix"], "may not be specified when expression is set")
            yield from self._judged(expression, f"{at}.expression")
        elif claim:
            if given.get("prefix") is None:
                why = "prefix is required when claim is set. It can be set to an empty string to disable prefixing"
                yield required(f"{at}.prefix", why)
        elif needed:
            yield required(at, "claim or expression is required")

    def _extra(self, entries: list[Any], at: str) -> Iterator[Cause]:
        keys: set[str] = set()
        for index, entry in enumerate(entries):
            path, key, expression = f"{at}[{index}]", text(entry, "key"), text(entry, "valueExpression")
            yield from extra_key_causes(key, f"{path}.key")
            if key in keys:
                yield duplicate(f"{path}.key", key)
                continue
            keys.add(key)
            if not expression:
                yield required(f"{path}.valueExpression")
            else:
                yield from self._judged(expression, f"{path}.valueExpression")

    def _user_rules(self, rules: list[Any], at: str) -> Iterator[Cause]:
        known: set[str] = set()
        for index, rule in enumerate(rules):
            expression, path = text(rule, "expression"), f"{at}[{index}].expression"
            if not expression:
                yield required(path)
            elif expression in known:
                yield duplicate(path, expression)
            else:
                yield from bad(compiled(expression, self._user, (types.BOOL,)), path)
            known.add(expression)

    def _judged(self, expression: str, path: str, kinds: tuple[Any, ...] = ()) -> Iterator[Cause]:
        # what claims are is only known when they come: mappings may give anything until then
        yield from bad(compiled(expression, self._claims, kinds), path)


def bad(made: Compiled, path: str) -> Iterator[Cause]:
    if made.program is None:
        yield invalid(path, made.expression, made.error)


def url_causes(url: str, at: str) -> Iterator[Cause]:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        yield invalid(at, url, str(error))
        return
    if parts.scheme != "https":
        yield invalid(at, url, "URL scheme must be https")
    if parts.username is not None:
        yield invalid(at, url, "URL must not contain a username or password")
    if parts.query:
        yield invalid(at, url, "URL must not contain a query")
    if parts.fragment:
        yield invalid(at, url, "URL must not contain a fragment")


def audience_causes(audiences: list[Any], policy: str, at: str) -> Iterator[Cause]:
    if not audiences:
        yield required(f"{at}.audiences", f"at least one {at}.audiences is required")
        return
    known: set[str] = set()
    for index, audience in enumerate(audiences):
        if not audience:
            yield required(f"{at}.audiences[{index}]")
        if audience in known:
            yield duplicate(f"{at}.audiences[{index}]", audience)
        known.add(audience)
    if len(audiences) > 1 and policy != MATCH_ANY:
        yield invalid(
            f"{at}.audienceMatchPolicy", policy, "audienceMatchPolicy must be MatchAny for multiple audiences"
        )
    if len(audiences) == 1 and policy not in ("", MATCH_ANY):
        why = "audienceMatchPolicy must be empty or MatchAny for single audience"
        yield invalid(f"{at}.audienceMatchPolicy", policy, why)


def extra_key_causes(key: str, at: str) -> Iterator[Cause]:
    """Yield what is wrong with a key of ``extra``: a path with a domain before it, of somebody else than Kubernetes."""
    domain, slash, rest = key.partition("/")
    if not key:
        yield required(at)
    elif not slash or not domain or not rest:
        yield invalid(at, key, 'must be a domain-prefixed path (such as "acme.io/foo")')
    else:
        for why in dns1123_subdomain(domain):
            yield invalid(at, domain, why)
    if key != key.lower():
        yield invalid(at, key, "must be lowercase")
    if slash and any(domain == name or domain.endswith(f".{name}") for name in RESERVED):
        yield invalid(at, key, "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use")


def is_bundle(pem: str) -> bool:
    try:
        return bool(ssl.create_default_context(cadata=pem).get_ca_certs() or "BEGIN CERTIFICATE" in pem)
    except (ssl.SSLError, ValueError):
        return False
