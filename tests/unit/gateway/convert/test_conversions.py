"""Manifests of Ingress, Traefik and the first Service APIs come out as Gateway API v1; what cannot is told by field."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sampan.gateway.convert import Conversion, convert
from sampan.gateway.convert.nginx_annotations import LOST, PREFIX, TRANSLATED, UNNEEDED
from sampan.schema.objects import Object

SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "api", "namespace": "shop"},
    "spec": {"ports": [{"name": "http", "port": 8080}]},
}


def ingress(annotations: dict[str, str] | None = None, name: str = "web", **spec: Any) -> Object:
    metadata = {
        "name": name,
        "namespace": "shop",
        "annotations": {PREFIX + k: v for k, v in (annotations or {}).items()},
    }
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec}


def path(value: str = "/", service: str = "web", port: Any = 80, kind: str = "Prefix") -> Object:
    named = {"name": port} if isinstance(port, str) else {"number": port}
    return {"path": value, "pathType": kind, "backend": {"service": {"name": service, "port": named}}}


def rule(*paths: Object, host: str = "shop.example") -> Object:
    return {"host": host, "http": {"paths": list(paths)}}


def of_kind(result: Conversion, kind: str) -> list[Object]:
    return [obj for obj in result.objects if obj["kind"] == kind]


def only(result: Conversion, kind: str) -> Object:
    (found,) = of_kind(result, kind)
    return found


def lost(result: Conversion) -> list[str]:
    return [str(note) for note in result.notes if note.lost]


# Ingress


def test_an_ingress_of_no_controller() -> None:
    result = convert([ingress(rules=[rule(path("/a", kind="Exact"), path("/b"))])])
    gateway, route = only(result, "Gateway"), only(result, "HTTPRoute")
    assert gateway["spec"]["listeners"] == [
        {"name": "shop-example-http", "port": 80, "protocol": "HTTP", "hostname": "shop.example"}
    ]
    assert route["metadata"] == {"name": "web-shop-example", "namespace": "shop"}
    assert route["spec"]["parentRefs"] == [{"name": "sampan", "sectionName": "shop-example-http"}]
    assert [one["matches"][0]["path"] for one in route["spec"]["rules"]] == [
        {"type": "Exact", "value": "/a"},
        {"type": "PathPrefix", "value": "/b"},
    ]
    assert not result.notes


def test_certificates_make_listeners_and_only_nginx_redirects_to_them() -> None:
    tls = [{"hosts": ["shop.example"], "secretName": "cert"}]
    plain = convert([ingress(tls=tls, rules=[rule(path())])])
    assert len(only(plain, "HTTPRoute")["spec"]["parentRefs"]) == 2
    nginx = convert([ingress(ingressClassName="nginx", tls=tls, rules=[rule(path())])])
    main, redirect = of_kind(nginx, "HTTPRoute")
    assert main["spec"]["parentRefs"] == [{"name": "nginx", "sectionName": "shop-example-https"}]
    assert redirect["spec"]["rules"][0]["filters"][0]["requestRedirect"] == {"scheme": "https", "statusCode": 308}
    listener = only(nginx, "Gateway")["spec"]["listeners"][1]
    assert listener["tls"] == {"mode": "Terminate", "certificateRefs": [{"name": "cert"}]}


def test_ingresses_of_a_class_share_a_gateway() -> None:
    result = convert([ingress(name=name, rules=[rule(path())]) for name in ("one", "two")])
    assert len(only(result, "Gateway")["spec"]["listeners"]) == 1 and len(of_kind(result, "HTTPRoute")) == 2


def test_hosts_that_are_spelled_alike_have_listeners_of_their_own() -> None:
    hosts = ["a-b.c", "a.b-c", "a-b.c"]
    result = convert([ingress(name=f"i{n}", rules=[rule(path(), host=host)]) for n, host in enumerate(hosts)])
    listeners = only(result, "Gateway")["spec"]["listeners"]
    assert [one["hostname"] for one in listeners] == ["a-b.c", "a.b-c"]
    sections = [one["spec"]["parentRefs"][0]["sectionName"] for one in of_kind(result, "HTTPRoute")]
    assert sections == ["a-b-c-http", "a-b-c-http-2", "a-b-c-http"]


def test_a_default_backend_takes_what_no_path_does() -> None:
    backend = {"service": {"name": "rest", "port": {"number": 80}}}
    routes = of_kind(convert([ingress(defaultBackend=backend, rules=[rule(path("/a"))])]), "HTTPRoute")
    assert [one["spec"]["rules"][-1]["backendRefs"][0]["name"] for one in routes] == ["rest", "rest"]
    assert "hostnames" not in routes[1]["spec"]


def test_named_ports_are_looked_up() -> None:
    obj = ingress(rules=[rule(path("/a", "api", "http"))])
    assert only(convert([obj, SERVICE]), "HTTPRoute")["spec"]["rules"][0]["backendRefs"] == [
        {"name": "api", "port": 8080}
    ]
    assert 'port "http"' in lost(convert([obj]))[0]


def test_every_annotation_is_translated_unneeded_or_told() -> None:
    for name in (*TRANSLATED, *UNNEEDED, *LOST, "no-such-thing"):
        result = convert([ingress({name: "x-y"}, rules=[rule(path())])])
        plain = convert([ingress(ingressClassName="nginx", rules=[rule(path())])])
        same = [obj["spec"] for obj in of_kind(result, "HTTPRoute")] == [
            obj["spec"] for obj in of_kind(plain, "HTTPRoute")
        ]
        assert not same or any(f"[{PREFIX}{name}]" in str(note) for note in result.notes), name


@pytest.mark.parametrize(
    ("annotations", "filters"),
    [
        ({"upstream-vhost": "in.example"}, [{"type": "URLRewrite", "urlRewrite": {"hostname": "in.example"}}]),
        (
            {"rewrite-target": "/new"},
            [{"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/new"}}}],
        ),
        (
            {"permanent-redirect": "https://b.example:8443/x", "permanent-redirect-code": "308"},
            [
                {
                    "type": "RequestRedirect",
                    "requestRedirect": {
                        "statusCode": 308,
                        "scheme": "https",
                        "hostname": "b.example",
                        "port": 8443,
                        "path": {"type": "ReplaceFullPath", "replaceFullPath": "/x"},
                    },
                }
            ],
        ),
        (
            {"mirror-target": "http://test.shop.svc.cluster.local:81/$request_uri"},
            [{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "test", "port": 81}}}],
        ),
    ],
)
def test_annotations_that_are_filters(annotations: dict[str, str], filters: list[Object]) -> None:
    result = convert([ingress(annotations, rules=[rule(path())])])
    assert only(result, "HTTPRoute")["spec"]["rules"][0]["filters"] == filters and not lost(result)


@pytest.mark.parametrize(
    ("annotations", "spec"),
    [
        (
            {"limit-rps": "10", "limit-burst-multiplier": "2"},
            {"rateLimit": {"average": 10, "period": "1s", "burst": 20}},
        ),
        ({"limit-connections": "5"}, {"inFlightReq": {"amount": 5, "sourceCriterion": {"ipStrategy": {}}}}),
        ({"proxy-body-size": "8m"}, {"buffering": {"maxRequestBodyBytes": 8 << 20}}),
        (
            {"whitelist-source-range": "10.0.0.0/8, 1.2.3.4"},
            {"ipAllowList": {"sourceRange": ["10.0.0.0/8", "1.2.3.4"]}},
        ),
        (
            {"auth-type": "basic", "auth-secret": "users", "auth-realm": "me"},
            {"basicAuth": {"secret": "users", "realm": "me"}},
        ),
        (
            {"auth-url": "http://who/", "auth-response-headers": "X-User", "auth-signin": "http://in/"},
            {
                "forwardAuth": {
                    "address": "http://who/",
                    "trustForwardHeader": True,
                    "authResponseHeaders": ["X-User"],
                    "authSigninURL": "http://in/",
                }
            },
        ),
        (
            {"custom-http-errors": "404,503", "default-backend": "pages"},
            {"errors": {"status": ["404", "503"], "service": {"name": "pages", "port": 80}, "query": "/"}},
        ),
    ],
)
def test_annotations_that_are_middlewares(annotations: dict[str, str], spec: Object) -> None:
    result = convert([ingress(annotations, rules=[rule(path())])])
    middleware = only(result, "Middleware")
    reference = only(result, "HTTPRoute")["spec"]["rules"][0]["filters"][0]["extensionRef"]
    assert middleware["spec"] == spec and reference["name"] == middleware["metadata"]["name"] and not lost(result)


def test_groups_of_a_path_are_put_into_the_new_one() -> None:
    obj = ingress(
        {"rewrite-target": "/$2"}, rules=[rule(path("/api(/|$)(.*)", kind="ImplementationSpecific"), path("/"))]
    )
    first, second = of_kind(convert([obj]), "Middleware")
    assert first["spec"]["replacePathRegex"] == {"regex": "(?i)^/api(/|$)(.*)", "replacement": "/$2"} or first["spec"][
        "replacePathRegex"
    ] == {"regex": "(?i)^/api(/|$)(.*).*", "replacement": "/$2"}
    assert second["spec"]["replacePathRegex"] == {"regex": "(?i)^/.*", "replacement": "/"}


@pytest.mark.parametrize(
    "annotations",
    [
        {"limit-rps": "many"},
        {"proxy-body-size": "8 apples"},
        {"ssl-redirect": "perhaps"},
        {"permanent-redirect": "https://b.example/?q=$uri"},
        {"auth-type": "basic"},
        {"auth-type": "basic", "auth-secret": "other/users"},
        {"auth-url": "http://$host/"},
        {"backend-protocol": "AJP"},
        {"backend-protocol": "HTTPS"},
        {"canary-weight": "10"},
        {"mirror-target": "https://elsewhere.example"},
        {"configuration-snippet": "more_set_headers x;"},
        {"auth-realm": "alone"},
    ],
)
def test_what_cannot_be_honoured_is_told(annotations: dict[str, str]) -> None:
    assert lost(convert([ingress(annotations, rules=[rule(path())])]))


def test_annotations_of_other_controllers_are_told() -> None:
    obj = ingress(rules=[rule(path())])
    obj["metadata"]["annotations"]["alb.ingress.kubernetes.io/scheme"] = "internal"
    assert "alb.ingress" in lost(convert([obj]))[0]


def test_a_canary_joins_the_rules_of_its_main_ingress() -> None:
    main = ingress(rules=[rule(path("/a"))])
    marks = {"canary": "true", "canary-weight": "20", "canary-by-header": "X-Canary", "canary-by-cookie": "c"}
    canary = ingress(marks, "canary", rules=[rule(path("/a", "new"))])
    rules = only(convert([canary, main]), "HTTPRoute")["spec"]["rules"]
    told = [(one["matches"][0].get("headers", [{}])[0].get("value"), one["backendRefs"]) for one in rules]
    new, old = {"name": "new", "port": 80}, {"name": "web", "port": 80}
    assert told == [
        ("always", [new]),
        ("never", [old]),
        (r"(.*;\s*)?c=always(;.*)?", [new]),
        (r"(.*;\s*)?c=never(;.*)?", [old]),
        (None, [{**old, "weight": 80}, {**new, "weight": 20}]),
    ]


def test_a_canary_without_a_main_ingress_is_told() -> None:
    result = convert([ingress({"canary": "true"}, "canary", rules=[rule(path("/a", "new"))])])
    assert "no other Ingress" in lost(result)[0] and not of_kind(result, "HTTPRoute")


def test_forced_https_without_a_certificate_does_not_turn_in_circles() -> None:
    result = convert([ingress({"force-ssl-redirect": "true"}, rules=[rule(path("/a"))])])
    served, away = only(result, "HTTPRoute")["spec"]["rules"]
    assert served["matches"][0]["headers"] == [{"name": "X-Forwarded-Proto", "value": "https"}]
    assert away["filters"][0]["requestRedirect"]["scheme"] == "https"


def test_passthrough_is_a_tls_route() -> None:
    route = only(convert([ingress({"ssl-passthrough": "true"}, rules=[rule(path(port=443))])]), "TLSRoute")
    assert route["spec"]["hostnames"] == ["shop.example"]
    assert route["spec"]["rules"] == [{"backendRefs": [{"name": "web", "port": 443}]}]


# Traefik


def ingress_route(*routes: Object, kind: str = "IngressRoute", **spec: Any) -> Object:
    metadata = {"name": "r", "namespace": "shop"}
    return {
        "apiVersion": "traefik.io/v1alpha1",
        "kind": kind,
        "metadata": metadata,
        "spec": {"routes": list(routes), **spec},
    }


def traefik_service(name: str, **spec: Any) -> Object:
    metadata = {"name": name, "namespace": "shop"}
    return {"apiVersion": "traefik.io/v1alpha1", "kind": "TraefikService", "metadata": metadata, "spec": spec}


def test_an_ingress_route_with_middlewares_and_weights() -> None:
    services = [{"name": "a", "port": 80, "weight": 3}, {"name": "b", "port": 80}]
    route = {"match": "Host(`a`) && Path(`/x`)", "middlewares": [{"name": "strip"}], "services": services}
    result = convert([ingress_route(route, entryPoints=["websecure"], tls={"secretName": "t"})])
    spec = only(result, "HTTPRoute")["spec"]
    assert spec["hostnames"] == ["a"] and only(result, "Gateway")["spec"]["listeners"][0]["port"] == 443
    assert spec["rules"] == [
        {
            "matches": [{"path": {"type": "Exact", "value": "/x"}}],
            "filters": [
                {"type": "ExtensionRef", "extensionRef": {"group": "traefik.io", "kind": "Middleware", "name": "strip"}}
            ],
            "backendRefs": [{"name": "a", "port": 80, "weight": 3}, {"name": "b", "port": 80}],
        }
    ]


def test_routes_with_different_hosts_are_different_routes() -> None:
    one = {"match": "Host(`a`) || Host(`b`)", "services": [{"name": "a", "port": 80}]}
    two = {"match": "Host(`a`) && Path(`/x`)", "services": [{"name": "b", "port": 80}]}
    routes = of_kind(convert([ingress_route(one, two)]), "HTTPRoute")
    assert [route["spec"]["hostnames"] for route in routes] == [["a", "b"], ["a"]]
    assert [route["metadata"]["name"] for route in routes] == ["r", "r-2"]


def test_weighted_and_mirroring_services() -> None:
    route = {"match": "Path(`/x`)", "services": [{"name": "split", "kind": "TraefikService"}]}
    split = traefik_service(
        "split",
        weighted={
            "services": [
                {"name": "a", "port": 80, "weight": 2},
                {"name": "copy", "kind": "TraefikService", "weight": 5},
            ]
        },
    )
    copied = traefik_service(
        "copy", mirroring={"name": "b", "port": 80, "mirrors": [{"name": "m", "port": 81, "percent": 10}]}
    )
    found = only(convert([ingress_route(route), split, copied]), "HTTPRoute")["spec"]["rules"][0]
    assert found["backendRefs"] == [{"name": "a", "port": 80, "weight": 2}, {"name": "b", "port": 80, "weight": 5}]
    assert found["filters"][0]["requestMirror"] == {"backendRef": {"name": "m", "port": 81}, "percent": 10}


def test_services_that_name_each_other_end() -> None:
    route = {"match": "Path(`/x`)", "services": [{"name": "a", "kind": "TraefikService"}]}
    circle = traefik_service("a", weighted={"services": [{"name": "a", "kind": "TraefikService"}]})
    assert "names itself" in " ".join(lost(convert([ingress_route(route), circle])))


@pytest.mark.parametrize(
    ("route", "spec", "told"),
    [
        ({"match": "Host(`a`)", "priority": 5, "services": []}, {}, "priority"),
        ({"match": "Host(", "services": []}, {}, "not understood"),
        ({"match": "Host(`a`)", "middlewares": [{"name": "m", "namespace": "x"}], "services": []}, {}, "own namespace"),
        ({"match": "Host(`a`)", "services": [{"name": "a"}]}, {}, "number of its port"),
        ({"match": "Host(`a`)", "services": [{"name": "a", "port": "http"}]}, {}, 'port "http"'),
        ({"match": "Host(`a`)", "services": [{"name": "a", "port": 80, "scheme": "https"}]}, {}, "BackendTLSPolicy"),
        ({"match": "Host(`a`)", "services": [{"name": "a", "port": 80, "strategy": "Wrr2"}]}, {}, "strategy"),
        ({"match": "Host(`a`)", "services": []}, {"entryPoints": ["metrics"]}, "--entry-point metrics=PORT"),
        ({"match": "Host(`a`)", "services": []}, {"tls": {"certResolver": "le"}}, "certResolver"),
    ],
)
def test_what_traefik_has_alone_is_told(route: Object, spec: Object, told: str) -> None:
    assert told in " ".join(lost(convert([ingress_route(route, **spec)])))


def test_tcp_and_udp_routes() -> None:
    backend = {"services": [{"name": "db", "port": 5432}]}
    everything = ingress_route({"match": "HostSNI(`*`)", **backend}, kind="IngressRouteTCP", entryPoints=["pg"])
    by_name = ingress_route(
        {"match": "HostSNI(`db.example`)", **backend},
        kind="IngressRouteTCP",
        entryPoints=["pg"],
        tls={"passthrough": True},
    )
    datagrams = ingress_route(backend, kind="IngressRouteUDP", entryPoints=["dns"])
    result = convert([everything, by_name, datagrams], entry_points={"pg": 5432, "dns": 53})
    assert only(result, "TCPRoute")["spec"]["rules"] == [{"backendRefs": [{"name": "db", "port": 5432}]}]
    assert only(result, "TLSRoute")["spec"]["hostnames"] == ["db.example"]
    assert only(result, "UDPRoute")["spec"]["parentRefs"] == [{"name": "traefik", "sectionName": "dns-udp"}]
    protocols = {one["protocol"]: one["port"] for one in only(result, "Gateway")["spec"]["listeners"]}
    assert protocols == {"TCP": 5432, "TLS": 5432, "UDP": 53} and not lost(result)


def test_middlewares_of_connections() -> None:
    route = {
        "match": "HostSNI(`*`)",
        "services": [{"name": "db", "port": 5432}],
        "middlewares": [{"name": "some"}, {"name": "few"}, {"name": "far", "namespace": "elsewhere"}],
    }
    result = convert([ingress_route(route, kind="IngressRouteTCP", entryPoints=["pg"])], entry_points={"pg": 5432})
    annotations = only(result, "TCPRoute")["metadata"]["annotations"]
    assert annotations == {"gateway.sampan.dev/middlewares": "traefik.io/some, traefik.io/few"}
    assert "copy far of elsewhere" in " ".join(lost(result))


# the first Service APIs


def service_api(kind: str, name: str, spec: Object, namespace: str = "old", labels: Object | None = None) -> Object:
    metadata = {"name": name, "namespace": namespace, "labels": labels or {}}
    return {"apiVersion": "networking.x-k8s.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


LISTENER = {"port": 80, "protocol": "HTTP", "routes": {"kind": "HTTPRoute", "selector": {"matchLabels": {"app": "x"}}}}
FORWARD = [{"forwardTo": [{"serviceName": "s", "port": 80}]}]


def test_routes_get_the_parents_that_chose_them() -> None:
    other = {**LISTENER, "port": 81, "routes": {"kind": "HTTPRoute", "selector": {"matchLabels": {"app": "y"}}}}
    gateway = service_api("Gateway", "g", {"gatewayClassName": "c", "listeners": [LISTENER, other]})
    route = service_api("HTTPRoute", "r", {"rules": FORWARD}, labels={"app": "x"})
    unchosen = service_api("HTTPRoute", "u", {"rules": FORWARD}, labels={"app": "z"})
    elsewhere = service_api("HTTPRoute", "e", {"rules": FORWARD}, "new", labels={"app": "x"})
    result = convert([gateway, route, unchosen, elsewhere])
    parents = {obj["metadata"]["name"]: obj["spec"]["parentRefs"] for obj in of_kind(result, "HTTPRoute")}
    assert parents == {"r": [{"name": "g", "sectionName": "http-80-0"}], "u": [], "e": []}
    assert len(lost(result)) == 2


def test_a_route_that_lists_its_gateways() -> None:
    refs = {"allow": "FromList", "gatewayRefs": [{"name": "far", "namespace": "infra"}]}
    result = convert([service_api("HTTPRoute", "r", {"gateways": refs, "rules": FORWARD})])
    assert only(result, "HTTPRoute")["spec"]["parentRefs"] == [{"name": "far", "namespace": "infra"}]


def test_a_whole_http_route() -> None:
    match = {"path": {"type": "Prefix", "value": "/bar"}, "headers": {"type": "Exact", "values": {"magic": "foo"}}}
    filters = [
        {"type": "ModifyRequestHeader", "modifyRequestHeader": {"add": {"a": "b"}, "remove": ["c"]}},
        {"type": "MirrorRequest", "mirrorRequest": {"serviceName": "m", "port": 81}},
        {"type": "Custom", "extensionRef": {"group": "g", "kind": "K", "name": "n"}},
    ]
    rules = [{"matches": [match], "filters": filters, "forwardTo": [{"serviceName": "s", "port": 80, "weight": 9}]}]
    result = convert(
        [service_api("HTTPRoute", "r", {"gateways": {"allow": "All"}, "hostnames": ["a"], "rules": rules})]
    )
    assert only(result, "HTTPRoute")["spec"]["rules"] == [
        {
            "matches": [
                {
                    "path": {"type": "PathPrefix", "value": "/bar"},
                    "headers": [{"type": "Exact", "name": "magic", "value": "foo"}],
                }
            ],
            "filters": [
                {
                    "type": "RequestHeaderModifier",
                    "requestHeaderModifier": {"add": [{"name": "a", "value": "b"}], "remove": ["c"]},
                },
                {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "m", "port": 81}}},
                {"type": "ExtensionRef", "extensionRef": {"group": "g", "kind": "K", "name": "n"}},
            ],
            "backendRefs": [{"name": "s", "port": 80, "weight": 9}],
        }
    ]
    fields = {note.field for note in result.notes if not note.lost}
    assert {"spec.gateways", "spec.rules[0].forwardTo", "spec.rules[0].filters[0]"} <= fields


def test_classes_listeners_and_other_routes() -> None:
    tls = {"mode": "Terminate", "certificateRef": {"group": "core", "kind": "Secret", "name": "c"}}
    listeners = [{"port": 443, "protocol": "TLS", "hostname": "*", "tls": tls, "routes": {"kind": "TLSRoute"}}]
    snis = [{"matches": [{"snis": ["a", "b"]}], "forwardTo": [{"serviceName": "s", "port": 80}]}]
    result = convert(
        [
            service_api("GatewayClass", "c", {"controller": "acme.io/x"}),
            service_api("Gateway", "g", {"gatewayClassName": "c", "listeners": listeners}),
            service_api("TLSRoute", "t", {"rules": snis}),
        ]
    )
    assert only(result, "GatewayClass")["spec"] == {"controllerName": "acme.io/x"}
    listener = only(result, "Gateway")["spec"]["listeners"][0]
    assert "hostname" not in listener and listener["tls"]["certificateRefs"] == [
        {"group": "", "kind": "Secret", "name": "c"}
    ]
    route = only(result, "TLSRoute")["spec"]
    assert route["hostnames"] == ["a", "b"] and route["parentRefs"] == [{"name": "g"}]


def test_sources_are_not_changed_and_others_left_out() -> None:
    objects = [ingress({"limit-rps": "1", "rewrite-target": "/$1"}, rules=[rule(path("/(.*)"))]), SERVICE]
    before = copy.deepcopy(objects)
    result = convert(objects)
    assert objects == before and result.left_out == [SERVICE]


def test_a_source_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"has no metadata\.name"):
        convert([{"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {}}])
