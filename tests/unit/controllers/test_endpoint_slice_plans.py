"""Few slices are written when endpoints change, and the others are left as they are."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sampan.controllers.endpoint_slice_plan import plan
from sampan.controllers.service_endpoints import Group, facts_of, ports_key
from sampan.schema.objects import Object

LABELS = {"kubernetes.io/service-name": "web"}
HTTP, DNS = [{"name": "http", "port": 80, "protocol": "TCP"}], [{"name": "dns", "port": 53, "protocol": "UDP"}]


def endpoint(number: int, *, ready: bool = True) -> Object:
    address = f"10.0.{number // 250}.{number % 250}"
    return {"addresses": [address], "conditions": {"ready": ready}, "targetRef": {"uid": str(number)}}


def wanted(endpoints: list[Object], ports: Any = HTTP) -> dict[bytes, Group]:
    return {ports_key(ports): (ports, endpoints)} if endpoints else {}


class Service:
    """The slices of a Service, changed as planned."""

    def __init__(self, at_most: int = 100) -> None:
        self.slices: dict[str, Object] = {}
        self.at_most, self.made = at_most, 0

    def become(self, groups: dict[bytes, Group], labels: dict[str, str] = LABELS) -> int:
        """Return how many writes it took."""
        todo = plan(self.slices.values(), groups, labels, self.at_most)
        for ports, endpoints in todo.create:
            self.made += 1
            name = f"web-{self.made:03}"
            self.slices[name] = {"metadata": {"name": name, "labels": labels}, "ports": ports, "endpoints": endpoints}
        for changed in todo.update:
            assert changed != self.slices[changed["metadata"]["name"]]
            self.slices[changed["metadata"]["name"]] = changed
        for gone in todo.delete:
            del self.slices[gone["metadata"]["name"]]
        return len(todo.create) + len(todo.update) + len(todo.delete)

    def held(self) -> list[str]:
        return sorted(one["addresses"][0] for each in self.slices.values() for one in each["endpoints"])

    def sizes(self) -> list[int]:
        return sorted(len(each["endpoints"]) for each in self.slices.values())


def test_one_endpoint_of_a_thousand_costs_one_write() -> None:
    service, all_of_them = Service(), [endpoint(n) for n in range(1000)]
    assert service.become(wanted(all_of_them)) == 10
    # the first goes and another comes: sorted into hundreds anew, all ten would change
    changed = [endpoint(5000), *all_of_them[1:]]
    assert service.become(wanted(changed)) == 1
    assert service.become(wanted(changed)) == 0
    assert service.become(wanted([endpoint(5000, ready=False), *changed[1:]])) == 1
    assert service.held() == sorted(one["addresses"][0] for one in changed)


def test_what_is_there_is_filled_before_a_slice_is_made() -> None:
    service = Service(at_most=10)
    service.become(wanted([endpoint(n) for n in range(25)]))
    assert service.sizes() == [5, 10, 10]
    assert service.become(wanted([endpoint(n) for n in range(28)])) == 1 and service.sizes() == [8, 10, 10]
    # a slice that is written anyway takes what it can
    assert service.become(wanted([endpoint(n) for n in range(2, 30)])) <= 2
    assert sum(service.sizes()) == 28 and len(service.sizes()) == 3


def test_without_endpoints_there_is_one_empty_slice_and_it_is_used_again() -> None:
    service = Service()
    assert service.become({}) == 1 and service.sizes() == [0]
    assert service.become({}) == 0
    assert service.become(wanted([endpoint(1)])) == 1
    (name,) = service.slices
    assert service.slices[name]["ports"] == HTTP
    assert service.become(wanted([endpoint(1)], DNS)) == 1, "other ports: the slice is used for them"
    assert list(service.slices) == [name] and service.slices[name]["ports"] == DNS
    assert service.become({}) == 1 and service.sizes() == [0]


def test_labels_of_the_service_reach_every_slice() -> None:
    service, endpoints = Service(at_most=10), [endpoint(n) for n in range(20)]
    service.become(wanted(endpoints))
    assert service.become(wanted(endpoints), {**LABELS, "team": "red"}) == 2
    assert all(one["metadata"]["labels"]["team"] == "red" for one in service.slices.values())


def test_ports_in_another_order_are_the_same_ports() -> None:
    both = [*HTTP, *DNS]
    turned = [{"protocol": "UDP", "port": 53, "name": "dns"}, *HTTP]
    service = Service()
    service.become(wanted([endpoint(1)], both))
    assert service.become(wanted([endpoint(1)], turned)) == 0


@given(steps=st.lists(st.tuples(st.sets(st.integers(0, 30)), st.sets(st.integers(31, 45))), max_size=8))
def test_every_endpoint_is_in_one_slice_and_stays_there(steps: list[tuple[set[int], set[int]]]) -> None:
    service = Service(at_most=4)
    before: dict[str, str] = {}
    for http, dns in steps:
        groups = wanted([endpoint(n) for n in sorted(http)]) | wanted([endpoint(n) for n in sorted(dns)], DNS)
        writes = service.become(groups)
        assert service.held() == sorted(endpoint(n)["addresses"][0] for n in (*http, *dns))
        assert all(size <= 4 for size in service.sizes())
        assert all(one["ports"] in (HTTP, DNS, []) for one in service.slices.values())
        place = {one["addresses"][0]: name for name, each in service.slices.items() for one in each["endpoints"]}
        assert all(place[address] == name for address, name in before.items() if address in place), "none moves"
        gone, come = before.keys() - place.keys(), place.keys() - before.keys()
        assert writes <= len(gone) + len(come) + 1
        assert service.become(groups) == 0
        before = place


def test_what_endpoints_tell_of_a_pod() -> None:
    """Only what changes this is looked at: a pod that is made, or bound, has no address yet."""
    metadata = {"name": "a", "namespace": "n", "uid": "u", "labels": {"app": "web"}}
    made: dict[str, Any] = {"metadata": metadata, "spec": {}}
    bound = {**made, "spec": {"nodeName": "n1"}, "status": {"phase": "Pending"}}
    running = {**bound, "status": {"phase": "Running", "podIP": "10.0.0.1", "startTime": "then"}}
    assert facts_of(made) is facts_of(bound) is None
    assert facts_of(running) == facts_of({**running, "status": {**running["status"], "startTime": "now"}})
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "now"}
    for other in (
        {**running, "status": {**running["status"], "conditions": [ready]}},
        {**running, "status": {**running["status"], "podIP": "10.0.0.2"}},
        {**running, "status": {**running["status"], "phase": "Failed"}},
        {**running, "metadata": {**metadata, "labels": {}}},
        {**running, "metadata": {**metadata, "deletionTimestamp": "now"}},
        {**running, "spec": {"nodeName": "n1", "hostname": "h"}},
    ):
        assert facts_of(other) != facts_of(running)
