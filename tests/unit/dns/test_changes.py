"""Whatever comes and goes, in whatever order: the zone is what it would be if it were made anew."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from .cluster import Cluster

NAMES = ("web", "db", "db-0")
ENDPOINTS = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from(("", "db-0", "x")), st.sampled_from(("", "db-0", "p")), st.booleans()),
    max_size=4,
)
STEPS = st.one_of(
    st.tuples(
        st.just("service"), st.sampled_from(NAMES), st.sampled_from(("10.96.0.1", "10.96.0.2", "None", "external"))
    ),
    st.tuples(st.just("no service"), st.sampled_from(NAMES)),
    st.tuples(st.just("slice"), st.sampled_from(("a", "b")), st.sampled_from(NAMES), ENDPOINTS, st.integers(80, 81)),
    st.tuples(st.just("no slice"), st.sampled_from(("a", "b"))),
)


def apply(cluster: Cluster, step: Any) -> None:
    match step:
        case ("service", name, "external"):
            cluster.service(name, type="ExternalName", externalName="example.org")
        case ("service", name, address):
            cluster.service(name, clusterIP=address)
        case ("no service", name):
            cluster.no_service(name)
        case ("slice", name, service, endpoints, port):
            made = [
                {
                    "addresses": [f"10.0.0.{number}"],
                    "hostname": hostname,
                    "targetRef": {"kind": "Pod", "name": pod},
                    "conditions": {"ready": ready},
                }
                for number, hostname, pod, ready in endpoints
            ]
            cluster.piece(service, *made, name=name, port=port)
        case ("no slice", name):
            cluster.follower.slices.forget({"metadata": {"name": name, "namespace": "shop"}})


@settings(max_examples=150)
@given(st.lists(STEPS, max_size=12))
def test_the_zone_does_not_depend_on_its_past(steps: list[Any]) -> None:
    cluster = Cluster()
    cluster.namespace("shop")
    for step in steps:
        apply(cluster, step)
    follower = cluster.follower
    anew = follower.new_zone(follower.zone.options)
    anew.set_namespace("shop", True)
    for key in follower.services.entries:
        anew.update(key, follower.records(key))
    zone = follower.zone
    assert {key: answer._replace(body=b"".join(sorted(_pieces(answer)))) for key, answer in zone.answers.items()} == {
        key: answer._replace(body=b"".join(sorted(_pieces(answer)))) for key, answer in anew.answers.items()
    }
    assert (zone.aliases, zone._between) == (anew.aliases, anew._between)


def _pieces(answer: Any) -> list[bytes]:
    from sampan.dns.zone import split

    return split(answer.body)
