"""``geoip``: what Envoy is told, what is refused, and which files are databases."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.gateway.maxmind import MARK, NoDatabase, check
from sampan.gateway.xds.types import LISTENER
from tests.mmdb import value, written

from .situation import Object, Situation, obj, route
from .test_gateway_middlewares import opened, rule

PATH = "/data/city.mmdb"
CITY = {"databases": {"city": PATH}}
DATABASE = written({"192.0.2.0/24": {"country": {"iso_code": "DE"}}}, "GeoIP2-City")


def situation(settings: Object) -> Situation:
    there = Situation(obj("Middleware", "m", {"geoip": settings}), route("r", rule("m")))
    for paths in list(there.pipeline.databases.values()):
        for path in paths:
            there.pipeline.put_database(path, f"/run/copy{path}", "")
    there.pipeline.update()
    return there


def test_what_envoy_is_told() -> None:
    there = situation({**CITY, "headers": {"X-City": "city"}, "denyCountries": ["fr", "BE"], "depth": 2})
    (entry,) = there.hosts()["*"]
    known = entry["typed_per_filter_config"]
    (name,) = [name for name in known if name.startswith("geoip/")]
    chain = opened(there.get(LISTENER, "shop/gw/80")["filter_chains"][0]["filters"][0]["typed_config"])["http_filters"]
    config = opened(next(one["typed_config"] for one in chain if one["name"] == name))
    assert config["xff_config"] == {"xff_num_trusted_hops": 2}
    provider = opened(config["provider"]["typed_config"])
    assert provider["city_db_path"] == f"/run/copy{PATH}"
    told = provider["common_provider_config"]["geo_field_keys"]
    assert told == {"city": "x-city", "country": "x-sampan-country"}
    taken = opened(known["headers/taken/0"])["mutations"]["request_mutations"]
    assert [one["remove"] for one in taken] == ["x-city", "x-sampan-country"]
    matcher = opened(known["rbac/countries/0"])["rbac"]["rules"]["policies"]["listed"]["principals"][0]["header"]
    assert matcher["string_match"]["safe_regex"]["regex"] == "BE|FR" and matcher["invert_match"] is True
    assert entry["request_headers_to_remove"] == ["x-sampan-country"]
    order = [one["name"].partition("/")[0] for one in chain if one["name"] in known]
    assert order == ["headers", "geoip", "rbac"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "spec.geoip.databases: Required value"),
        ({"databases": {"town": PATH}}, "spec.geoip.databases.town: this option is not served"),
        ({"databases": {"city": "city.mmdb"}}, "spec.geoip.databases.city: an absolute path"),
        (CITY, "spec.geoip.headers: neither headers nor countries"),
        ({**CITY, "headers": {"X-A": "shoe"}}, "spec.geoip.headers.X-A: 'shoe' is none of"),
        ({**CITY, "headers": {"X-A": "city", "X-B": "city"}}, "spec.geoip.headers.X-B: city is told in x-a already"),
        ({**CITY, "headers": {"X-A": "isp"}}, "spec.geoip.headers.X-A: no database of isp is given"),
        ({"databases": {"asn": PATH}, "allowCountries": ["DE"]}, "spec.geoip.allowCountries: no database of country"),
        ({**CITY, "allowCountries": ["DEU"]}, "spec.geoip.allowCountries: 'DEU' is no country"),
        ({**CITY, "allowCountries": ["DE"], "denyCountries": ["FR"]}, "spec.geoip.denyCountries"),
        ({**CITY, "allowCountries": ["DE"], "depth": -1}, "spec.geoip.depth"),
    ],
)
def test_what_cannot_be_honoured_is_told(settings: Object, told: str) -> None:
    assert told in situation(settings).conditions("HTTPRoute", "r")["Accepted"]["message"]


def test_a_database_that_is_not_there_is_told_and_nobody_passes() -> None:
    there = Situation(obj("Middleware", "m", {"geoip": {**CITY, "allowCountries": ["DE"]}}), route("r", rule("m")))
    assert there.pipeline.databases == {("Middleware", "shop/m"): {PATH}}
    told = there.conditions("HTTPRoute", "r")["ResolvedRefs"]["message"]
    assert f"geoip.databases.city: {PATH}: it has not been read yet" in told
    there.pipeline.put_database(PATH, None, "No such file or directory")
    there.pipeline.update()
    assert "No such file" in there.conditions("HTTPRoute", "r")["ResolvedRefs"]["message"]
    assert there.hosts()["*"][0]["direct_response"] == {"status": 500}


def test_files_that_are_databases_and_files_that_are_none() -> None:
    assert check(DATABASE)["database_type"] == "GeoIP2-City"
    head, _, metadata = DATABASE.rpartition(MARK)
    for content, told in (
        (b"", "no MaxMind database"),
        (head, "no MaxMind database"),
        (head + MARK, "cut short"),
        (head + MARK + metadata[:-1], "cut short"),
        (head + MARK + value("text"), "no map"),
        (head + MARK + value({"node_count": 1}), "have no binary_format_major_version"),
        (DATABASE[-len(MARK) - len(metadata) :], "shorter than its metadata say"),
    ):
        with pytest.raises(NoDatabase, match=told):
            check(content)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_any_bytes_are_judged(noise: bytes, place: int) -> None:
    for content in (MARK + noise, DATABASE[:-place] + noise if place else DATABASE):
        try:
            check(content)
        except NoDatabase as error:
            assert str(error)
