"""``geoip`` in a real Envoy, by databases that the test writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.mmdb import written

from .eventually import eventually
from .gateway_alone import Alone, middleware, route
from .test_gateway_login import Mirror

CITIES = {
    "192.0.2.0/24": {
        "country": {"iso_code": "DE"},
        "city": {"names": {"en": "Bremen"}},
        "subdivisions": [{"iso_code": "HB"}],
    },
    "198.51.100.0/25": {"country": {"iso_code": "FR"}, "city": {"names": {"en": "Lyon"}}},
    "2001:db8::/32": {"country": {"iso_code": "SE"}, "city": {"names": {"en": "Umeå"}}},
}
NUMBERS = {"192.0.2.0/24": {"autonomous_system_number": 64496, "autonomous_system_organization": "Example"}}


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    folder = tmp_path_factory.mktemp("places")
    (folder / "city.mmdb").write_bytes(written(CITIES, "GeoIP2-City"))
    (folder / "asn.mmdb").write_bytes(written(NUMBERS, "GeoLite2-ASN"))
    (folder / "none.mmdb").write_bytes(b"not one")
    databases = {"city": str(folder / "city.mmdb"), "asn": str(folder / "asn.mmdb")}
    headers = {"X-Country": "country", "X-City": "city", "X-Region": "region", "X-Network": "asn"}
    kinds: dict[str, Any] = {
        "told": {"databases": databases, "headers": headers, "depth": 1},
        "allowed": {"databases": databases, "allowCountries": ["de", "SE"], "depth": 1},
        "denied": {"databases": databases, "denyCountries": ["FR"], "depth": 1, "headers": {"X-Country": "country"}},
        "peer": {"databases": databases, "headers": headers},
        "broken": {"databases": {"city": str(folder / "none.mmdb")}, "headers": {"X-Country": "country"}},
    }
    alone = Alone(folder, Mirror)
    try:
        alone.write(*(middleware(n, {"geoip": s}) for n, s in kinds.items()), *(route(n, n) for n in kinds))
        alone.start()
        alone.serves("/told")
        yield alone
    finally:
        alone.close()


def told(front: Alone, path: str, **headers: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(front.ask(path, **headers).body)["headers"]
    return found


def test_the_backend_is_told_where_a_client_is(front: Alone) -> None:
    found = told(front, "/told", X_Forwarded_For="203.0.113.1, 192.0.2.7", X_Country="XX")
    names = ("x-country", "x-city", "x-region", "x-network")
    assert [found.get(name) for name in names] == ["DE", "Bremen", "HB", "64496"]
    found = told(front, "/told", X_Forwarded_For="2001:db8::7")
    assert (found["x-country"], found["x-city"].encode("latin-1").decode()) == ("SE", "Umeå")
    for path, forwarded in (("/told", "203.0.113.1"), ("/peer", "192.0.2.7")):
        found = told(front, path, X_Forwarded_For=forwarded, X_Country="XX", X_City="Y")
        assert not {name for name in names if name in found}, "nobody says where it is itself"


def test_countries_that_may_come_in(front: Alone) -> None:
    at = {"DE": "192.0.2.7", "FR": "198.51.100.7", "SE": "2001:db8::1", "": "203.0.113.1"}
    for path, passes in (("/allowed", {"DE", "SE"}), ("/denied", {"DE", "SE", ""})):
        for country, address in at.items():
            status = front.status(path, X_Forwarded_For=address, X_Country="DE")
            assert status == (200 if country in passes else 403), (path, country)
    assert "x-sampan-country" not in told(front, "/allowed", X_Forwarded_For="192.0.2.7")


def test_databases_are_followed(front: Alone) -> None:
    file = front.directory.parent / "city.mmdb"
    before = file.read_bytes()
    moved = {**CITIES, "192.0.2.0/24": {"country": {"iso_code": "AT"}, "city": {"names": {"en": "Linz"}}}}

    def country() -> str | None:
        return told(front, "/told", X_Forwarded_For="192.0.2.7").get("x-country")

    try:
        file.with_suffix(".new").write_bytes(written(moved, "GeoIP2-City"))
        file.with_suffix(".new").rename(file)
        eventually("the new one is read", lambda: country() == "AT")
        file.write_bytes(b"not one")
        eventually("it is told", lambda: "city.mmdb: this is no MaxMind database" in front.log.read_text())
        assert country() == "AT", "the one before serves on"
    finally:
        file.write_bytes(before)
    eventually("the file is one again", lambda: country() == "DE")


def test_what_is_no_database_is_told_and_takes_nobody_else_down(front: Alone) -> None:
    assert front.status("/broken") in (404, 500)
    eventually("it is told", lambda: "none.mmdb: this is no MaxMind database" in front.log.read_text())
