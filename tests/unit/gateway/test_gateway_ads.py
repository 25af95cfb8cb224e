"""What the delta ADS server sends when, and what it remembers of Envoy's answers."""

from __future__ import annotations

from typing import Any

from sampan.gateway.filters.seam import HttpFilter
from sampan.gateway.xds.ads import AT_ONCE, Ads
from sampan.gateway.xds.connections import Connection
from sampan.gateway.xds.encode import decode
from sampan.gateway.xds.offers import digest_of_filter, digest_of_table, label, offers_of
from sampan.gateway.xds.types import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES

RESPONSE = "envoy.service.discovery.v3.DeltaDiscoveryResponse"


class Envoy:
    """An Envoy that takes everything but resources with the content ``bad``, and what is ``refused``."""

    def __init__(self, server: Ads) -> None:
        self.server, self.connection, self.refused = server, Connection(), {b"bad"}
        server._connections.add(self.connection)

    def subscribe(self, type_url: str, *names: str) -> None:
        self.server.on_request(self.connection, {"type_url": type_url, "resource_names_subscribe": list(names)})

    def received(self) -> list[dict[str, Any]]:
        found = []
        while not self.connection.out.empty():
            found.append(decode(RESPONSE, self.connection.out.get_nowait()))
        return found

    def begin(self, *tables: str) -> None:
        """Ask for what every Envoy asks for at once, and for these tables."""
        for type_url in (CLUSTER, LISTENER):
            self.subscribe(type_url)
        self.subscribe(ROUTES, *tables)

    def answer(self, *types: str) -> list[tuple[str, list[str], list[str]]]:
        """Answer to all that comes (of these types) until nothing comes; return type, names and removed names."""
        seen = []
        held = []
        while messages := self.received():
            for message in messages:
                names = [resource["name"] for resource in message.get("resources", [])]
                seen.append((message["type_url"], names, message.get("removed_resources", [])))
                if types and message["type_url"] not in types:
                    held.append(message)
                    continue
                request: dict[str, Any] = {"type_url": message["type_url"], "response_nonce": message["nonce"]}
                if any(self.server.resources[message["type_url"]].get(name) in self.refused for name in names):
                    request["error_detail"] = {"message": "no"}
                self.server.on_request(self.connection, request)
        return seen


def test_a_refusal_belongs_to_its_resource_until_that_is_mended() -> None:
    server = Ads()
    envoy = Envoy(server)
    envoy.begin("a", "b", "c")

    def publish(**routes: bytes) -> dict[str, str]:
        for name in ("a", "b", "c"):
            server.change(ROUTES, name, routes.get(name))
        server.push()
        envoy.answer()
        assert server.acknowledged == server.sequence
        return {name: text for (_, name), text in server.problems.items()}

    assert publish(a=b"1", b=b"bad", c=b"3") == {"b": "no"}
    assert publish(a=b"2", b=b"bad", c=b"3") == {"b": "no"}, "another resource's acknowledgement clears nothing"
    assert publish(a=b"2", b=b"4", c=b"3") == {}
    assert publish(a=b"2", b=b"bad", c=b"3") == {"b": "no"}
    assert publish(a=b"2", c=b"3") == {}, "what is gone is no problem"


def test_only_what_changed_is_sent() -> None:
    server = Ads()
    envoy = Envoy(server)
    envoy.subscribe(ROUTES, "a", "b")
    for name in ("a", "b", "unasked"):
        server.change(ROUTES, name, b"1")
    server.push()
    assert [names for _, names, _ in envoy.answer()] == [["a", "b"]]
    assert not server.change(ROUTES, "a", b"1")
    server.change(ROUTES, "b", b"2")
    server.push()
    assert envoy.answer() == [(ROUTES, ["b"], [])]
    server.push()
    assert envoy.answer() == []


def test_additions_go_in_order_and_removals_after_them() -> None:
    server = Ads()
    envoy = Envoy(server)
    for type_url in (CLUSTER, ENDPOINTS, LISTENER, ROUTES):
        envoy.subscribe(type_url, *([] if type_url in (CLUSTER, LISTENER) else ["old", "new"]))
        server.change(type_url, "old", b"1")
    server.push()
    envoy.answer()
    for type_url in (CLUSTER, ENDPOINTS, LISTENER, ROUTES):
        server.change(type_url, "old", None)
        server.change(type_url, "new", b"1")
    server.push()
    seen = [(kind, "+" if names else "-") for kind, names, _ in envoy.answer()]
    added = [kind for kind, sign in seen if sign == "+"]
    assert added == [CLUSTER, ENDPOINTS, LISTENER, ROUTES]
    assert seen.index((CLUSTER, "-")) > seen.index((ROUTES, "+")), seen


def test_routes_wait_for_clusters_and_endpoints_do_not() -> None:
    server = Ads()
    envoy = Envoy(server)
    envoy.begin("table")
    envoy.answer()
    envoy.subscribe(ENDPOINTS, "web")
    for type_url, name in ((CLUSTER, "web"), (ENDPOINTS, "web"), (ROUTES, "table")):
        server.change(type_url, name, b"1")
    number = server.push()
    assert [kind for kind, _, _ in envoy.answer(ENDPOINTS)] == [CLUSTER, ENDPOINTS]
    assert server.acknowledged < number
    nonce = envoy.connection.waiting[CLUSTER][0]
    server.on_request(envoy.connection, {"type_url": CLUSTER, "response_nonce": nonce})
    assert envoy.answer() == [(ROUTES, ["table"], [])]
    assert server.acknowledged == number


def test_an_envoy_that_comes_gets_what_it_asks_for() -> None:
    server = Ads()
    assert server.acknowledged == -1
    for type_url, name in ((CLUSTER, "web"), (LISTENER, "gw/80"), (ROUTES, "gw/80")):
        server.change(type_url, name, b"1")
    server.push()
    envoy = Envoy(server)
    envoy.subscribe(CLUSTER)
    assert envoy.answer() == [(CLUSTER, ["web"], [])]
    assert server.acknowledged < server.sequence, "it has not even asked for listeners"
    envoy.subscribe(LISTENER)
    assert envoy.answer() == [(LISTENER, ["gw/80"], [])]
    assert server.acknowledged < server.sequence, "it has not asked for the listener's routes"
    envoy.subscribe(ROUTES, "gw/80")
    assert envoy.answer() == [(ROUTES, ["gw/80"], [])]
    assert server.acknowledged == server.sequence


def test_routes_of_a_refused_listener_are_not_waited_for() -> None:
    server = Ads()
    envoy = Envoy(server)
    envoy.begin()
    for type_url, name, content in ((LISTENER, "gw/80", b"bad"), (ROUTES, "gw/80", b"1"), (ROUTES, "gw/80/a", b"1")):
        server.change(type_url, name, content)
    server.push()
    envoy.answer()
    assert server.acknowledged == server.sequence


def test_an_envoy_that_comes_back_gets_what_differs_and_hears_what_is_gone() -> None:
    server = Ads()
    for type_url, name in ((CLUSTER, "same"), (CLUSTER, "other"), (LISTENER, "gw/80"), (ROUTES, "gw/80")):
        server.change(type_url, name, b"1")
    server.push()
    envoy = Envoy(server)
    versions = {"same": server.versions[CLUSTER]["same"], "other": "old", "gone": "old"}
    server.on_request(envoy.connection, {"type_url": CLUSTER, "initial_resource_versions": versions})
    for type_url, names in ((LISTENER, []), (ROUTES, ["gw/80"])):
        kept = {"gw/80": server.versions[type_url]["gw/80"]}
        request = {"type_url": type_url, "resource_names_subscribe": names, "initial_resource_versions": kept}
        server.on_request(envoy.connection, request)
    assert envoy.answer() == [(CLUSTER, ["other"], ["gone"])]
    assert server.acknowledged == server.sequence


def test_many_of_a_type_go_in_several_answers_and_later_types_after_the_last() -> None:
    server = Ads()
    envoy = Envoy(server)
    envoy.begin("table")
    envoy.answer()
    names = [f"c{number}" for number in range(2 * AT_ONCE + 1)]
    for name in names:
        server.change(CLUSTER, name, b"1")
    server.change(ROUTES, "table", b"1")
    number = server.push()
    seen = envoy.answer()
    assert [type_url for type_url, _, _ in seen] == [CLUSTER, CLUSTER, CLUSTER, ROUTES]
    assert [len(found) for _, found, _ in seen] == [AT_ONCE, AT_ONCE, 1, 1]
    assert sorted(name for type_url, found, _ in seen if type_url == CLUSTER for name in found) == sorted(names)
    assert server.acknowledged == number


def test_what_is_gone_goes_with_the_last_of_many() -> None:
    server = Ads()
    envoy = Envoy(server)
    envoy.begin()
    server.change(CLUSTER, "old", b"1")
    server.push()
    envoy.answer()
    server.change(CLUSTER, "old", None)
    for number in range(AT_ONCE + 1):
        server.change(CLUSTER, f"c{number}", b"1")
    server.push()
    assert [removed for _, _, removed in envoy.answer()] == [[], ["old"]]


def guard(name: str) -> HttpFilter:
    return HttpFilter(40, name, b"")


def needs(*names: str) -> frozenset[str]:
    return frozenset(digest_of_filter(guard(name)) for name in names)


def test_what_a_version_tells_can_be_read() -> None:
    version = f"1234{label({'gw/80': [guard('a'), guard('b')], 'gw/443/x': []})}"
    assert offers_of(version) == {digest_of_table("gw/80"): needs("a", "b"), digest_of_table("gw/443/x"): frozenset()}
    assert offers_of("1234") == {} and digest_of_table("gw/80|7") == digest_of_table("gw/80")


def test_tables_are_held_back_that_need_what_a_refused_listener_would_have_brought() -> None:
    server = Ads()
    envoy = Envoy(server)
    envoy.begin("gw/80", "gw/80|7", "other")

    def push(listener: bytes, offers: str, needed: str, content: bytes) -> list[str]:
        server.change(LISTENER, "gw/80", listener, label({"gw/80": [guard(name) for name in offers]}))
        server.needs["gw/80"] = needs(*needed)
        for table in ("gw/80", "gw/80|7", "other"):
            server.change(ROUTES, table, content)
        server.push()
        seen = envoy.answer()
        assert server.acknowledged == server.sequence, "what is held back is not waited for"
        return [name for type_url, names, _ in seen if type_url == ROUTES for name in names]

    every = ["gw/80", "gw/80|7", "other"]
    assert push(b"1", "a", "a", b"1") == every
    assert push(b"bad", "ab", "ab", b"2") == ["other"]
    assert server.offered("gw/80") == needs("a") and server.offered("other") is None
    assert push(b"bad", "ab", "a", b"3") == every
    assert push(b"bad", "ab", "ab", b"4") == ["other"]
    assert push(b"2", "ab", "ab", b"4") == every[:2], "it is taken: what was held back goes out"
    assert server.offered("gw/80") is None


def test_a_table_that_comes_after_its_listener_was_refused_is_not_waited_for() -> None:
    server = Ads()
    envoy = Envoy(server)
    envoy.begin()
    server.change(LISTENER, "gw/80", b"bad")
    server.push()
    envoy.answer()
    server.change(ROUTES, "gw/80|7", b"1")
    server.push()
    assert server.acknowledged == server.sequence


def test_discovered_filters_go_one_by_one_and_before_the_routes() -> None:
    server = Ads()
    envoy = Envoy(server)
    envoy.begin("gw/80")
    envoy.answer()
    envoy.subscribe(EXTENSION, "one", "two")
    for type_url, name in ((EXTENSION, "one"), (EXTENSION, "two"), (ROUTES, "gw/80")):
        server.change(type_url, name, b"1")
    server.push()
    assert [names for _, names, _ in envoy.answer()] == [["one"], ["two"], ["gw/80"]]


def test_a_listener_is_tried_again_when_a_filter_that_it_names_is_mended() -> None:
    server = Ads()
    envoy = Envoy(server)
    envoy.begin()
    server.change(LISTENER, "gw/80", b"with plugin/a")
    envoy.refused.add(b"with plugin/a")
    server.push()
    envoy.answer()
    assert (LISTENER, "gw/80") in server.problems
    envoy.refused.clear()
    envoy.subscribe(EXTENSION, "plugin/a", "plugin/b")
    server.change(EXTENSION, "plugin/b", b"1")
    server.push()
    assert [names for _, names, _ in envoy.answer()] == [["plugin/b"]]
    server.change(EXTENSION, "plugin/a", b"1")
    server.push()
    assert [names for _, names, _ in envoy.answer()] == [["plugin/a"], ["gw/80"]]
    assert not server.problems and server.acknowledged == server.sequence
