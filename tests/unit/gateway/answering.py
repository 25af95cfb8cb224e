"""An Envoy as the server of ADS sees it: it asks, keeps what it takes, and refuses what a test says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf import any_pb2

from sampan.gateway.xds.ads import Ads
from sampan.gateway.xds.connections import Connection
from sampan.gateway.xds.encode import decode
from sampan.gateway.xds.types import CLUSTER, LISTENER, ORDER, PREFIX, ROUTES, SCOPES

from .situation import opened

RESPONSE = "envoy.service.discovery.v3.DeltaDiscoveryResponse"


class Envoy:
    """``has`` is what it serves: type → name → version and content."""

    def __init__(self, server: Ads, refuses: Callable[[str, bytes], bool] = lambda type_url, content: False) -> None:
        self.server, self.connection, self.refuses = server, Connection(), refuses
        self.has: dict[str, dict[str, tuple[str, bytes]]] = {type_url: {} for type_url in ORDER}
        self.seen: list[tuple[str, list[str]]] = []
        """Type and names of what came."""
        self.began_with_none: list[str] = []
        """Tables whose first version it refused: their listeners serve nothing."""
        self.draining: dict[str, set[str]] = {}
        """Tables that connections still ask for whose listener has changed, with the filters that these have."""
        server._connections.add(self.connection)

    def subscribe(self, type_url: str, *names: str, initial: bool = False) -> None:
        request: dict[str, Any] = {"type_url": type_url, "resource_names_subscribe": list(names)}
        if initial:
            request["initial_resource_versions"] = {name: found[0] for name, found in self.has[type_url].items()}
        self.server.on_request(self.connection, request)

    def begin(self) -> None:
        """Ask for what every Envoy asks for at once."""
        for type_url in (CLUSTER, LISTENER, SCOPES):
            self.subscribe(type_url, initial=True)

    def come_back(self, *, routes_first: bool = False) -> None:
        """Lose the connection and open another, with what it has."""
        self.leave()
        self.connection = Connection()
        self.server._connections.add(self.connection)
        tables = list(self.has[ROUTES])
        if routes_first:
            self.subscribe(ROUTES, *tables, initial=True)
        self.begin()
        if not routes_first:
            self.subscribe(ROUTES, *tables, initial=True)
        self.follow()

    def leave(self) -> None:
        self.server._leave(self.connection)

    def lose(self, *, routes_first: bool = False) -> None:
        """Take all that has come, and lose the connection before anything is said of it."""
        while not self.connection.out.empty():
            self._take(decode(RESPONSE, self.connection.out.get_nowait()))
        self.come_back(routes_first=routes_first)

    def answer(self, at_each: Callable[[], None] = lambda: None) -> bool:
        """Answer to all that has come until nothing comes; ``at_each`` answer. Return whether anything came."""
        came = False
        while not self.connection.out.empty():
            self.take(decode(RESPONSE, self.connection.out.get_nowait()))
            at_each()
            came = True
        return came

    def take(self, message: dict[str, Any]) -> None:
        self.server.on_request(self.connection, self._take(message))
        if message["type_url"] in (LISTENER, SCOPES):
            self.follow()

    def _take(self, message: dict[str, Any]) -> dict[str, Any]:
        """Take what a message has; return what is to be said of it."""
        type_url, taken = message["type_url"], self.has[message["type_url"]]
        request: dict[str, Any] = {"type_url": type_url, "response_nonce": message["nonce"]}
        self.seen.append((type_url, [resource["name"] for resource in message.get("resources", [])]))
        if type_url == LISTENER:
            self.draining |= {
                table: filters
                for name in taken
                for table, filters in self.chains(name)
                if table in self.has[ROUTES] and "|" not in table  # of parts there is one for all connections
            }
        for name in message.get("removed_resources", []):
            taken.pop(name, None)
        for resource in message.get("resources", []):
            content = any_pb2.Any.FromString(resource["resource"]).value
            if self.refuses(type_url, content):
                request["error_detail"] = {"message": f"no {resource['name']}"}
                asked = self.connection.subscribed.get(ROUTES, set())
                if type_url == ROUTES and resource["name"] in asked - taken.keys():
                    self.began_with_none.append(resource["name"])
            else:
                taken[resource["name"]] = resource["version"], content
        return request

    def follow(self) -> None:
        """Ask for the tables of its listeners and of those that were, and for no others."""
        wanted = {table for name in self.has[LISTENER] for table, _ in self.chains(name)} | self.draining.keys()
        asked = set(self.connection.subscribed.get(ROUTES, ()))
        if new := wanted - asked:
            self.subscribe(ROUTES, *sorted(new))
        for gone in asked - wanted:
            self.has[ROUTES].pop(gone, None)
            self.server.on_request(self.connection, {"type_url": ROUTES, "resource_names_unsubscribe": [gone]})

    def drained(self) -> None:
        """End the connections that were there before their listener changed."""
        self.draining.clear()
        self.follow()

    def listener(self, name: str) -> dict[str, Any]:
        return decode(LISTENER.removeprefix(PREFIX), self.has[LISTENER][name][1])

    def chains(self, name: str) -> list[tuple[str, set[str]]]:
        """Return the tables of a listener, each with the filters of its requests."""
        found = []
        for chain in self.listener(name).get("filter_chains", []):
            manager = opened(chain["filters"][-1]["typed_config"])
            names = {entry["name"] for entry in manager.get("http_filters", [])}
            if "rds" in manager:
                found.append((manager["rds"]["route_config_name"], names))
            elif "scoped_routes" in manager:
                table = manager["scoped_routes"]["name"]
                scopes = [scope for scope in self.has[SCOPES] if scope.startswith(f"{table}|")]
                found += [(part, names) for part in sorted({self.part(scope) for scope in scopes})]
        return found

    def part(self, scope: str) -> str:
        """Return the part of a table where a scope has its routes."""
        name: str = decode(SCOPES.removeprefix(PREFIX), self.has[SCOPES][scope][1])["route_configuration_name"]
        return name

    def routes(self, table: str) -> list[dict[str, Any]]:
        """Return the routes of a table as its listener serves it, or under the name by which it was asked for."""
        names = {
            asked
            for name in self.has[LISTENER]
            for asked, _ in self.chains(name)
            if table in (asked.partition("@")[0], asked.partition("|")[0])
        }
        return [route for name in sorted(names or {table}) for route in self._routes(name)]

    def _routes(self, name: str) -> list[dict[str, Any]]:
        found = decode(ROUTES.removeprefix(PREFIX), self.has[ROUTES][name][1]) if name in self.has[ROUTES] else {}
        assert found.get("name", name) == name, "Envoy takes no other than what it asked for"
        return [route for host in found.get("virtual_hosts", []) for route in host.get("routes", [])]

    def unguarded(self) -> list[str]:
        """Return the routes that it serves without a filter that they are to have."""
        outer = [
            name for name in self.has[LISTENER] if not name.startswith("inner/")
        ]  # before the others these are passed
        chains = [chain for name in outer for chain in self.chains(name)]
        found = []
        for table, filters in [*chains, *self.draining.items()]:
            for route in self.routes(table):
                found += [route["name"] for one in route.get("typed_per_filter_config", {}) if one not in filters]
        return found
