"""Every option there is, with a value that is not its default: Traefik's, by its CRDs (``middlewares.traefik.io`` and
``middlewaretcps.traefik.io`` of August 2026), and ours.

A line: path, value (YAML), and after ``with`` other options that it needs. ``[]`` after a name: a list of objects.
"""

from __future__ import annotations

from typing import Any

import yaml

BASES: dict[str, Any] = {
    "addPrefix": {"prefix": "/a"},
    "basicAuth": {"secret": "users"},
    "buffering": {"maxRequestBodyBytes": 100},
    "chain": {"middlewares": []},
    "circuitBreaker": {"expression": "NetworkErrorRatio() > 0.5"},
    "compress": {},
    "contentType": {},
    "digestAuth": {"users": [f"me:{realm}:{'0' * 32}" for realm in ("traefik", "here")]},
    "encodedCharacters": {},
    "errors": {"status": ["500"], "service": {"name": "web", "port": 80}},
    "forwardAuth": {"address": "http://auth.example"},
    "grpcWeb": {},
    "headers": {"customRequestHeaders": {"X-A": "a"}},
    "inFlightReq": {"amount": 5},
    "ipAllowList": {"sourceRange": ["10.0.0.0/8"]},
    "ipWhiteList": {"sourceRange": ["10.0.0.0/8"]},
    "passTLSClientCert": {"info": {}},
    "plugin": {},
    "rateLimit": {"average": 5},
    "redirectRegex": {"regex": "^http://a/(.*)", "replacement": "https://b/$1"},
    "redirectScheme": {"scheme": "https"},
    "replacePath": {"path": "/a"},
    "replacePathRegex": {"regex": "^/a", "replacement": "/b"},
    "retry": {"attempts": 2},
    "stripPrefix": {"prefixes": ["/a"]},
    "stripPrefixRegex": {"regex": ["/a"]},
    "apiKeyAuth": {"secret": "users"},
    "bandwidthLimit": {"kibPerSecond": 5},
    "cache": {},
    "cors": {"allowOrigins": ["https://a.example"]},
    "csrf": {},
    "fault": {"abort": {"status": 503}},
    "geoip": {"databases": {"city": "/data/city.mmdb"}, "headers": {"X-City": "city"}},
    "jwt": {"jwks": '{"keys": [{}]}'},
    "oauth2": {
        "authorizationEndpoint": "https://a.example/a",
        "tokenEndpoint": "https://a.example/t",
        "clientID": "me",
        "secret": "users",
        "scopes": ["a"],
    },
    "oidc": {"issuer": "https://login.example", "clientID": "me", "secret": "users"},
}
TRAEFIK = """
addPrefix.prefix: /b
basicAuth.headerField: X-User
basicAuth.realm: here
basicAuth.removeHeader: true
basicAuth.secret: others
buffering.maxRequestBodyBytes: 7
buffering.maxResponseBodyBytes: 7
buffering.memRequestBodyBytes: 7
buffering.memResponseBodyBytes: 7
buffering.retryExpression: IsNetworkError()
chain.middlewares[].name: other
chain.middlewares[].namespace: elsewhere with {name: other}
circuitBreaker.checkPeriod: 7s
circuitBreaker.expression: NetworkErrorRatio() > 0.7
circuitBreaker.fallbackDuration: 7s
circuitBreaker.recoveryDuration: 7s
circuitBreaker.responseCode: 599
compress.defaultEncoding: gzip
compress.encodings: [br]
compress.excludedContentTypes: [text/plain]
compress.includedContentTypes: [text/plain]
compress.minResponseBodyBytes: 7
contentType.autoDetect: false
digestAuth.headerField: X-User
digestAuth.realm: here
digestAuth.removeHeader: true
digestAuth.secret: digests
encodedCharacters.allowEncodedBackSlash: true
encodedCharacters.allowEncodedHash: true
encodedCharacters.allowEncodedNullCharacter: true
encodedCharacters.allowEncodedPercent: true
encodedCharacters.allowEncodedQuestionMark: true
encodedCharacters.allowEncodedSemicolon: true
encodedCharacters.allowEncodedSlash: true
errors.errorRequestHeaders: [X-A]
errors.query: /{status}
errors.service.healthCheck: {path: /}
errors.service.kind: TraefikService
errors.service.middlewares[].name: other
errors.service.name: other
errors.service.namespace: elsewhere
errors.service.nativeLB: true
errors.service.nodePortLB: true
errors.service.passHostHeader: false
errors.service.passiveHealthCheck: {maxFailedAttempts: 1}
errors.service.port: 81
errors.service.responseForwarding: {flushInterval: 1ms}
errors.service.scheme: https
errors.service.serversTransport: x
errors.service.sticky: {cookie: {name: x}}
errors.service.strategy: p2c
errors.service.weight: 2
errors.status: ["404"]
errors.statusRewrites: {"500": 404}
forwardAuth.addAuthCookiesToResponse: [a]
forwardAuth.address: http://other.example
forwardAuth.authRequestHeaders: [X-A]
forwardAuth.authResponseHeaders: [X-A]
forwardAuth.authResponseHeadersRegex: ^X-
forwardAuth.authSigninURL: https://a.example
forwardAuth.forwardBody: true
forwardAuth.headerField: X-User
forwardAuth.maxBodySize: 7 with {forwardBody: true}
forwardAuth.maxResponseBodySize: 7
forwardAuth.preserveLocationHeader: true
forwardAuth.preserveRequestMethod: true
forwardAuth.tls.caOptional: true
forwardAuth.tls.caSecret: authorities
forwardAuth.tls.certSecret: pair
forwardAuth.tls.insecureSkipVerify: true
forwardAuth.trustForwardHeader: true
grpcWeb.allowOrigins: [https://a.example]
headers.accessControlAllowCredentials: true with {accessControlAllowOriginList: [https://a.example]}
headers.accessControlAllowHeaders: [X-A] with {accessControlAllowOriginList: [https://a.example]}
headers.accessControlAllowMethods: [PUT] with {accessControlAllowOriginList: [https://a.example]}
headers.accessControlAllowOriginList: [https://a.example]
headers.accessControlAllowOriginListRegex: [https://.*]
headers.accessControlExposeHeaders: [X-A] with {accessControlAllowOriginList: [https://a.example]}
headers.accessControlMaxAge: 7 with {accessControlAllowOriginList: [https://a.example]}
headers.addVaryHeader: true with {accessControlAllowOriginList: [https://a.example]}
headers.allowedHosts: [a.example]
headers.browserXssFilter: true
headers.contentSecurityPolicy: x
headers.contentSecurityPolicyReportOnly: x
headers.contentTypeNosniff: true
headers.customBrowserXSSValue: x
headers.customFrameOptionsValue: x
headers.customRequestHeaders: {X-B: b}
headers.customResponseHeaders: {X-B: b}
headers.featurePolicy: x
headers.forceSTSHeader: true with {stsSeconds: 7}
headers.frameDeny: true
headers.hostsProxyHeaders: [X-A] with {allowedHosts: [a.example]}
headers.isDevelopment: true with {frameDeny: true, allowedHosts: [a.example]}
headers.permissionsPolicy: x
headers.publicKey: x
headers.referrerPolicy: x
headers.sslForceHost: true
headers.sslHost: a.example
headers.sslProxyHeaders: {X-A: https} with {stsSeconds: 7}
headers.sslRedirect: true
headers.sslTemporaryRedirect: true
headers.stsIncludeSubdomains: true with {stsSeconds: 7}
headers.stsPreload: true with {stsSeconds: 7}
headers.stsSeconds: 7
inFlightReq.amount: 7
inFlightReq.sourceCriterion.ipStrategy.depth: 7
inFlightReq.sourceCriterion.ipStrategy.excludedIPs: [10.0.0.1]
inFlightReq.sourceCriterion.ipStrategy.ipv6Subnet: 64
inFlightReq.sourceCriterion.requestHeaderName: X-A
inFlightReq.sourceCriterion.requestHost: true with {ipStrategy: {}}
ipAllowList.ipStrategy.depth: 7
ipAllowList.ipStrategy.excludedIPs: [10.0.0.1]
ipAllowList.ipStrategy.ipv6Subnet: 64
ipAllowList.rejectStatusCode: 404
ipAllowList.sourceRange: [11.0.0.0/8]
ipWhiteList.ipStrategy.depth: 7
ipWhiteList.ipStrategy.excludedIPs: [10.0.0.1]
ipWhiteList.ipStrategy.ipv6Subnet: 64
ipWhiteList.sourceRange: [11.0.0.0/8]
passTLSClientCert.info.issuer.commonName: true
passTLSClientCert.info.issuer.country: true
passTLSClientCert.info.issuer.domainComponent: true
passTLSClientCert.info.issuer.locality: true
passTLSClientCert.info.issuer.organization: true
passTLSClientCert.info.issuer.province: true
passTLSClientCert.info.issuer.serialNumber: true
passTLSClientCert.info.notAfter: true
passTLSClientCert.info.notBefore: true
passTLSClientCert.info.sans: true
passTLSClientCert.info.serialNumber: true
passTLSClientCert.info.subject.commonName: true
passTLSClientCert.info.subject.country: true
passTLSClientCert.info.subject.domainComponent: true
passTLSClientCert.info.subject.locality: true
passTLSClientCert.info.subject.organization: true
passTLSClientCert.info.subject.organizationalUnit: true
passTLSClientCert.info.subject.province: true
passTLSClientCert.info.subject.serialNumber: true
passTLSClientCert.pem: true
plugin.other: {}
rateLimit.average: 7
rateLimit.burst: 7
rateLimit.period: 7s
rateLimit.redis: {endpoints: ["a:6379"]}
rateLimit.sourceCriterion.ipStrategy.depth: 7
rateLimit.sourceCriterion.ipStrategy.excludedIPs: [10.0.0.1]
rateLimit.sourceCriterion.ipStrategy.ipv6Subnet: 64
rateLimit.sourceCriterion.requestHeaderName: X-A
rateLimit.sourceCriterion.requestHost: true
redirectRegex.permanent: true
redirectRegex.regex: ^http://c/(.*)
redirectRegex.replacement: https://d/$1
redirectScheme.permanent: true
redirectScheme.port: "7443"
redirectScheme.scheme: http
replacePath.path: /b
replacePathRegex.regex: ^/c
replacePathRegex.replacement: /d
retry.attempts: 7
retry.disableRetryOnNetworkError: true with {status: ["503"]}
retry.initialInterval: 7ms
retry.maxRequestBodyBytes: 7 with {status: ["503"]}
retry.retryNonIdempotentMethod: true
retry.status: ["503"]
retry.timeout: 7s
stripPrefix.forceSlash: true
stripPrefix.prefixes: [/b]
stripPrefixRegex.regex: [/b]
"""
OURS = """
apiKeyAuth.allowedClients: [me]
apiKeyAuth.clientHeader: X-Client
apiKeyAuth.hideKey: true
apiKeyAuth.keySources[].query: key
apiKeyAuth.secret: others
bandwidthLimit.direction: Request
bandwidthLimit.kibPerSecond: 7
basicAuth.users: ["you:{SHA}AAAA"]
cache.defaultTTL: 7
cache.maxBodyKiB: 7
cache.maxSizeMiB: 7
cache.statusHeader: X-Cache
cors.allowCredentials: true
cors.allowHeaders: [X-A]
cors.allowMethods: [PUT]
cors.allowOrigins: ["https://b.example"]
cors.exposeHeaders: [X-A]
cors.maxAge: 7
csrf.additionalOrigins: [a.example]
digestAuth.users: ["you:traefik:00000000000000000000000000000001"]
fault.abort.percent: 7
fault.abort.status: 507
fault.delay.duration: 7s
fault.delay.percent: 7 with {duration: 7s}
geoip.allowCountries: [DE]
geoip.databases.city: /data/other.mmdb
geoip.denyCountries: [DE]
geoip.depth: 7
geoip.headers: {X-Country: country}
jwt.audiences: [a]
jwt.claims: {groups: [a]}
jwt.claimToHeaders: [{claim: a, header: X-A}]
jwt.clockSkewSeconds: 7
jwt.forward: true
jwt.forwardPayloadHeader: X-A
jwt.fromCookies: [a]
jwt.fromHeaders[].name: X-A
jwt.fromHeaders[].prefix: "P " with {name: X-A}
jwt.fromParams: [a]
jwt.issuer: me
jwt.jwks: '{"keys": [{"a": 1}]}'
jwt.jwksSecret: keys with {jwks: null}
jwt.jwksService: {name: web, port: 80} with {jwks: null}
jwt.jwksUri: https://a.example/keys with {jwks: null}
jwt.optional: true
jwt.tls: {caSecret: authorities} with {jwks: null, jwksUri: "https://a.example/keys"}
jwt.tls: {insecureSkipVerify: true} with {jwks: null, jwksUri: "https://a.example/keys"}
rateLimit.failure: Closed with {shared: true}
rateLimit.shared: true
"""
LOGIN = """
authParams: {prompt: login}
clientAuthentication: Basic
clientID: you
denyRedirect[].header: X-A
denyRedirect[].value: b with {header: X-A}
forwardAccessToken: true
logoutUrl: /leave
redirectUrl: /back
resources: [a]
scopes: [b]
secret: others
session.domain: a.example
session.expiry: 7
session.name: mine
session.path: /a
session.refresh: false
session.sameSite: Lax
tls.caSecret: authorities
tls.insecureSkipVerify: true
"""
OAUTH2 = """
authorizationEndpoint: https://b.example/a
tokenEndpoint: https://b.example/t
"""
OIDC = """
audiences: [a]
claims: {groups: [a]}
clockSkewSeconds: 7
forwardHeaders: {X-A: sub}
forwardIDToken: X-A
issuer: https://other.example
"""


def below(kind: str, lines: str) -> str:
    return "".join(f"{kind}.{line}\n" for line in filter(None, lines.splitlines()))


EVERY = TRAEFIK + OURS + below("oauth2", LOGIN + OAUTH2) + below("oidc", LOGIN + OIDC)


def options() -> list[tuple[str, Any, Any]]:
    """Return path, value and what it needs beside it, of each option."""
    found = []
    for line in filter(None, EVERY.splitlines()):
        path, _, rest = line.partition(": ")
        value, _, needs = rest.partition(" with ")
        found.append((path, yaml.safe_load(value), yaml.safe_load(needs) if needs else {}))
    return found


def spec_of(path: str, value: Any, needs: Any, *, with_it: bool = True) -> dict[str, Any]:
    """Return the spec of a Middleware with an option and what it needs; without the option, what is compared to."""
    kind, *names = path.split(".")
    spec: dict[str, Any] = {kind: dict(BASES[kind])}
    place = spec[kind]
    for name in names[:-1]:
        plain = name.removesuffix("[]")
        below = dict(place.get(plain) or {}) if plain == name else {}
        place[plain] = below if plain == name else [below]
        place = below
    place |= needs
    if with_it:
        place[names[-1]] = value
    return spec
