"""Whatever the order of changes, the resources are those of a pipeline that sees the last state only."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.gateway.status import Moment
from sampan.gateway.xds.encode import decode
from sampan.gateway.xds.types import LISTENER, ROUTES

from .situation import Situation, endpoint_slice, gateway, grant, obj, path_rule, route, service

HOSTS = ["a.example.com", "*.example.com", "*.a.example.com", "b.org"]


def listener(name: str, port: int, hostname: str) -> dict[str, Any]:
    return {"name": name, "port": port, "protocol": "HTTP", **({"hostname": hostname} if hostname else {})}


hostnames = st.lists(st.sampled_from(HOSTS), max_size=2, unique=True)
PARAMETERS = {"group": "gateway.sampan.dev", "kind": "GatewayParameters", "name": "many"}
FAR = {"name": "far", "namespace": "other", "port": 80}
backend = st.sampled_from([{"name": "web", "port": 80}, {"name": "api", "port": 80}, FAR])
change = st.one_of(
    st.builds(
        lambda name, hosts, path, target: route(
            name, path_rule("PathPrefix", path, backendRefs=[target]), hostnames=hosts
        ),
        st.sampled_from(["r1", "r2", "r3"]),
        hostnames,
        st.sampled_from(["/", "/x"]),
        backend,
    ),
    st.builds(
        lambda one, two, many: gateway(
            listener("one", 80, one),
            *([listener("two", 80, two)] if one != two else []),
            **({"infrastructure": {"parametersRef": PARAMETERS}} if many else {}),
        ),
        st.sampled_from(["", *HOSTS]),
        st.sampled_from(["", *HOSTS]),
        st.booleans(),
    ),
    st.just(obj("GatewayParameters", "many", {"manyHosts": True})),
    st.builds(service, st.sampled_from(["web", "api"])),
    st.builds(endpoint_slice, st.sampled_from(["web", "api"]), st.sampled_from(["10.0.0.1", "10.0.0.2"])),
    st.just(grant("HTTPRoute", "Service", "other")),
    st.just(obj("Service", "far", {"ports": [{"port": 80}]}, "other")),
)


def described(there: Situation) -> dict[str, Any]:
    """Return the resources, without what depends on history: Envoy's port numbers, the order of virtual hosts."""
    found: dict[str, Any] = {}
    for type_url, resources in there.pipeline.ads.resources.items():
        for name, content in resources.items():
            if type_url == ROUTES:
                found[type_url, name] = {host: there.hosts(name)[host] for host in sorted(there.hosts(name))}
            elif type_url == LISTENER:
                message = decode("envoy.config.listener.v3.Listener", content)
                found[type_url, name] = {**message, "address": None}
            else:
                found[type_url, name] = content
    return found


@given(st.lists(st.tuples(st.booleans(), change), max_size=14))
@settings(max_examples=150, deadline=None)
def test_changes_add_up(changes: list[tuple[bool, dict[str, Any]]]) -> None:
    there, last = Situation(usual=False), {}
    for kept, one in changes:
        identity = one["kind"], one["metadata"]["namespace"], one["metadata"]["name"]
        if kept:
            there.put(one)
            last[identity] = one
        elif identity in last:
            there.delete(last.pop(identity))
    fresh = Situation(*last.values(), usual=False)
    assert described(there) == described(fresh)
    for kind, key in {("HTTPRoute", f"shop/{name}") for name in ("r1", "r2", "r3")} | {("Gateway", "shop/gw")}:
        moments = [situation.pipeline.status(kind, key, Moment("", True)) for situation in (there, fresh)]
        assert moments[0] == moments[1]
