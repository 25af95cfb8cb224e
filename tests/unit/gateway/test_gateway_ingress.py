"""Ingresses and IngressRoutes in the world: what Envoy is told, what their status and their problems say."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from sampan.gateway.ingress.shared import gateway_key
from sampan.gateway.xds.types import LISTENER, ROUTES
from sampan.schema.objects import Object

from .certificates import pair
from .situation import Situation, endpoint_slice, obj, service

NGINX = "nginx.ingress.kubernetes.io/"
ROOT = Path(__file__).parents[3]
GATEWAY = gateway_key("sampan")
TABLE = f"{GATEWAY}/80"


def ingress_class(name: str = "sampan", controller: str = "sampan.dev/ingress", **annotations: str) -> Object:
    found = obj("IngressClass", name, {"controller": controller})
    del found["metadata"]["namespace"]
    found["metadata"]["annotations"] = {f"ingressclass.kubernetes.io/{key}": text for key, text in annotations.items()}
    return found


def ingress(
    name: str = "web",
    host: str = "shop.example",
    path: str = "/",
    port: Any = 80,
    namespace: str = "shop",
    annotations: dict[str, str] | None = None,
    **spec: Any,
) -> Object:
    number = {"name": port} if isinstance(port, str) else {"number": port}
    paths = [{"path": path, "pathType": "Prefix", "backend": {"service": {"name": "web", "port": number}}}]
    rule = {"http": {"paths": paths}, **({"host": host} if host else {})}
    found = obj("Ingress", name, {"ingressClassName": "sampan", "rules": [rule], **spec}, namespace)
    found["apiVersion"] = "networking.k8s.io/v1"
    found["metadata"]["annotations"] = {NGINX + key: text for key, text in (annotations or {}).items()}
    return found


def ingress_route(name: str = "web", match: str = "Host(`shop.example`)", **more: Any) -> Object:
    routes = [{"kind": "Rule", "match": match, "services": [{"name": "web", "port": 80}], **more}]
    found = obj("IngressRoute", name, {"entryPoints": ["web"], "routes": routes})
    return {**found, "apiVersion": "traefik.io/v1alpha1"}


class Served(Situation):
    """With our IngressClass; what came of the shared Gateway."""

    def __init__(self, *objects: Object) -> None:
        super().__init__(service("web"), endpoint_slice("web", "10.0.0.1"), ingress_class(), *objects, usual=False)

    def put(self, *objects: Object) -> None:
        for one in objects:
            kind = one["kind"] + (".traefik.io" if "traefik" in one.get("apiVersion", "") else "")
            metadata = one["metadata"]
            key = f"{metadata['namespace']}/{metadata['name']}" if "namespace" in metadata else metadata["name"]
            self.pipeline.put(kind, key, one)
        self.pipeline.update()

    def address(self, ip: str = "192.0.2.7") -> None:
        made = obj("Service", "ingress-sampan", {"ports": []}, "kube-system")
        self.put({**made, "status": {"loadBalancer": {"ingress": [{"ip": ip, "ports": []}]}}})

    def problems(self, name: str = "web", kind: str = "Ingress") -> list[str]:
        from sampan.gateway.status import Moment

        self.pipeline.status(kind, f"shop/{name}", Moment("2026-01-02T00:00:00Z", True))
        return list(self.pipeline.world.get("Outcome", (kind, f"shop/{name}")) or ())


def test_an_ingress_is_served_on_the_shared_gateway() -> None:
    there = Served(ingress())
    assert there.hosts(TABLE)["shop.example"][0]["route"]["cluster"] == "shop/web/80"
    assert TABLE in there.names(LISTENER)
    there.address()
    assert there.status("Ingress", "web") == {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}
    assert there.status("Ingress", "web", live=False) == {"loadBalancer": {}}, "not before Envoy has it"
    assert there.problems() == []
    there.delete(ingress())
    assert there.names(LISTENER) == [] and there.names(ROUTES) == []


def test_namespaces_share_the_gateway_and_a_host() -> None:
    other = ingress("web", path="/other", namespace="other")
    there = Served(ingress(), other, service("web", namespace="other"))
    clusters = [entry["route"]["cluster"] for entry in there.hosts(TABLE)["shop.example"]]
    assert list(dict.fromkeys(clusters)) == ["other/web/80", "shop/web/80"]


def test_whose_an_ingress_is() -> None:
    nobody = ingress()
    del nobody["spec"]["ingressClassName"]
    there = Served(nobody)
    assert there.names(ROUTES) == [], "no class is the default"
    there.put(ingress_class(**{"is-default-class": "true"}))
    assert "shop.example" in there.hosts(TABLE)
    newer = ingress_class("other", "example.com/other", **{"is-default-class": "true"})
    newer["metadata"]["creationTimestamp"] = "2026-02-01T00:00:00Z"
    there.put(newer)
    assert there.names(ROUTES) == [], "the newest default counts"
    there.put(ingress(ingressClassName="other"))
    assert there.names(ROUTES) == []
    by_annotation = ingress()
    del by_annotation["spec"]["ingressClassName"]
    by_annotation["metadata"]["annotations"] = {"kubernetes.io/ingress.class": "sampan"}
    there.put(by_annotation)
    assert "shop.example" in there.hosts(TABLE)
    there.pipeline.put("IngressClass", "sampan", None)
    there.pipeline.update()
    assert there.names(ROUTES) == []


def test_a_named_port_is_looked_up_and_follows_its_service() -> None:
    there = Served(ingress(port="web-port"))
    assert there.names(ROUTES) == [] or "shop.example" not in there.hosts(TABLE)
    assert any('"web-port"' in text for text in there.problems())
    there.address()
    assert there.status("Ingress", "web") == {"loadBalancer": {}}, "nothing of it is served"
    there.put(service("web", {"name": "web-port", "port": 8081}))
    assert there.hosts(TABLE)["shop.example"][0]["route"]["cluster"] == "shop/web/8081"
    assert there.problems() == []
    there.put(service("web", {"name": "web-port", "port": 8082}))
    assert there.hosts(TABLE)["shop.example"][0]["route"]["cluster"] == "shop/web/8082"


def test_certificates_come_from_the_ingress_own_namespace() -> None:
    secure = ingress(tls=[{"hosts": ["shop.example"], "secretName": "shop-tls"}])
    there = Served(secure)
    assert any("shop/shop-tls does not exist" in text for text in there.problems())
    certificate, key = pair("shop.example")
    data = {"tls.crt": base64.b64encode(certificate).decode(), "tls.key": base64.b64encode(key).decode()}
    there.put({"kind": "Secret", "metadata": {"name": "shop-tls", "namespace": "shop"}, "data": data})
    assert there.problems() == []
    assert f"{GATEWAY}/443" in there.names(LISTENER)
    assert "shop.example" in there.hosts(f"{GATEWAY}/443/https-443-shop.example")


def test_a_default_backend_takes_what_no_rule_takes() -> None:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    there = Served(ingress(host="*.shop.example", path="/a", defaultBackend=backend))
    assert set(there.hosts(TABLE)) == {"*", "*.shop.example"}
    there = Served(ingress(rules=[], defaultBackend=backend))
    assert set(there.hosts(TABLE)) == {"*"}


def test_annotations_become_filters_and_what_cannot_is_told() -> None:
    there = Served(ingress(annotations={"limit-rps": "5", "configuration-snippet": "more_set_headers x"}))
    assert any("limit" in str(entry) for entry in there.hosts(TABLE)["shop.example"])
    (problem,) = there.problems()
    assert problem.startswith(f"metadata.annotations[{NGINX}configuration-snippet]: ")


def test_a_canary_joins_its_main_ingress() -> None:
    canary = ingress("canary", annotations={"canary": "true", "canary-weight": "20"})
    canary["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] = "next"
    there = Served(ingress(), service("next"))
    there.put(canary)
    weights = there.hosts(TABLE)["shop.example"][0]["route"]["weighted_clusters"]["clusters"]
    assert {entry["name"]: entry["weight"]["value"] for entry in weights} == {"shop/web/80": 80, "shop/next/80": 20}
    assert there.problems("canary") == []
    there.delete(ingress())
    assert any("no other Ingress" in text for text in there.problems("canary"))


def test_problems_of_its_routes_are_told() -> None:
    there = Served(ingress())
    there.pipeline.put("Service", "shop/web", None)
    there.pipeline.update()
    assert any("shop/web" in text for text in there.problems())


@pytest.mark.parametrize(
    ("match", "host"), [("Host(`a.example`) && PathPrefix(`/x`)", "a.example"), ("PathPrefix(`/x`)", "*")]
)
def test_an_ingress_route_is_served_beside_them(match: str, host: str) -> None:
    there = Served(ingress(), ingress_route(match=match))
    assert host in there.hosts(TABLE) and "shop.example" in there.hosts(TABLE)
    assert there.problems(kind="IngressRoute.traefik.io") == []


def test_an_ingress_route_may_lead_to_traefik_services_and_middlewares() -> None:
    weighted = {"services": [{"name": "web", "port": 80, "weight": 3}, {"name": "next", "port": "http", "weight": 1}]}
    composed = {**obj("TraefikService", "split", {"weighted": weighted}), "apiVersion": "traefik.io/v1alpha1"}
    there = Served(service("next"), composed)
    there.put(ingress_route(services=[{"name": "split", "kind": "TraefikService"}]))
    weights = there.hosts(TABLE)["shop.example"][0]["route"]["weighted_clusters"]["clusters"]
    assert {entry["name"]: entry["weight"]["value"] for entry in weights} == {"shop/web/80": 3, "shop/next/80": 1}
    there.put(ingress_route(middlewares=[{"name": "add"}]))
    assert any("add" in text for text in there.problems(kind="IngressRoute.traefik.io"))
    prefix = {**obj("Middleware", "add", {"addPrefix": {"prefix": "/api"}}), "apiVersion": "traefik.io/v1alpha1"}
    there.put(prefix)
    assert there.problems(kind="IngressRoute.traefik.io") == []


def test_the_example() -> None:
    import yaml

    there = Served()
    for one in yaml.safe_load_all((ROOT / "examples/gateway-ingress/ingress.yaml").read_text()):
        there.put(one)
    assert {str(entry["name"]).split("_")[0] for entry in there.hosts(TABLE)["shop.example"]} == {
        "shop/ingress",
        "shop/ingressroute",
    }
    assert there.problems() == [] and there.problems("old", "IngressRoute.traefik.io") == []


def test_an_ingress_that_cannot_be_read_harms_no_other() -> None:
    broken = ingress_route("broken")
    broken["spec"]["routes"] = ["nonsense"]
    there = Served(ingress(), broken)
    assert "shop.example" in there.hosts(TABLE)
    assert any("cannot be read" in text for text in there.problems("broken", "IngressRoute.traefik.io"))
