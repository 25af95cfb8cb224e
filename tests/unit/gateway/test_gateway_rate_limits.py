"""Our Rate Limit Service: buckets against a plain model, what is under way, and bytes of any kind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from grpclib.exceptions import GRPCError
from hypothesis import given
from hypothesis import strategies as st

from sampan.gateway.limits import buckets
from sampan.gateway.limits.buckets import Buckets
from sampan.gateway.limits.descriptors import FLIGHT, Asked, bucket_limit, flight_limit
from sampan.gateway.limits.service import OK, OVER_LIMIT, Limits, Service
from sampan.gateway.xds.encode import decode, encode

SECOND = 1_000_000_000


class Clock:
    now = 1_000 * SECOND

    def __call__(self) -> int:
        return self.now


@given(st.lists(st.integers(0, 3 * SECOND), max_size=50), st.integers(1, 5), st.integers(SECOND // 10, 2 * SECOND))
def test_a_bucket_is_one_of_tokens(pauses: list[int], burst: int, interval: int) -> None:
    clock = Clock()
    bucket, tokens, at = Buckets(clock), burst * interval, clock.now
    for pause in pauses:
        clock.now += pause
        tokens, at = min(burst * interval, tokens + clock.now - at), clock.now
        wait = bucket.wait("a", interval, burst)
        assert wait == max(0, interval - tokens)
        if not wait:
            bucket.take("a", interval)
            tokens -= interval


def test_buckets_that_are_full_again_are_forgotten_and_there_are_not_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "MOST_BUCKETS", 10)
    clock = Clock()
    bucket = Buckets(clock)
    for number in range(100):
        bucket.take(str(number), SECOND)
    assert len(bucket) == 10
    clock.now += 3 * SECOND
    bucket.take("new", SECOND)
    assert len(bucket) == 1


def ask(service: Service, *descriptors: dict[str, str]) -> dict[str, Any]:
    entries = [{"entries": [{"key": key, "value": value} for key, value in one.items()]} for one in descriptors]
    request = encode("envoy.service.ratelimit.v3.RateLimitRequest", {"domain": "sampan", "descriptors": entries})
    return decode("envoy.service.ratelimit.v3.RateLimitResponse", asyncio.run(service.answer(request)))


def test_what_is_under_way_is_counted_until_it_ends() -> None:
    service = Service(Limits())
    limit = flight_limit("m", 2)

    def begin(source: str, identity: str) -> int:
        return int(ask(service, {"flight": limit, "source": source, "identity": identity})["overall_code"])

    assert [begin("a", "1"), begin("a", "2"), begin("a", "3"), begin("b", "4")] == [OK, OK, OVER_LIMIT, OK]
    for identity in ("3", "unknown"):  # was never let in
        assert ask(service, {"ended": "yes", "identity": identity})["overall_code"] == OK
    assert begin("a", "5") == OVER_LIMIT
    ask(service, {"ended": "yes", "identity": "1"})
    assert [begin("a", "6"), begin("a", "7")] == [OK, OVER_LIMIT]
    service.limits.flights.forget()
    assert begin("a", "8") == OK


def test_what_has_ended_does_not_begin_any_more() -> None:
    service = Service(Limits())
    places = {
        f"downstream_{name}_address": {"socket_address": {"address": address, "port_value": 7}}
        for name, address in (("remote", "::1"), ("local", "127.0.0.1"))
    }
    entry = {"common_properties": {**places, "start_time": {"seconds": 5, "nanos": 60}}}
    message = encode("envoy.service.accesslog.v3.StreamAccessLogsMessage", {"tcp_logs": {"log_entry": [entry]}})
    flight = {"flight": flight_limit("m", 1), "source": "a", "identity": "[::1]:7>127.0.0.1:7@5.000000060"}
    service.ended(message)
    assert ask(service, flight)["overall_code"] == OK and len(service.limits.flights) == 0
    assert ask(service, {**flight, "identity": "2"})["overall_code"] == OK
    assert ask(service, {**flight, "identity": "3"})["overall_code"] == OVER_LIMIT
    service.ended(b"\xff")
    service.ended(encode("envoy.service.accesslog.v3.StreamAccessLogsMessage", {}))


def test_nothing_is_counted_of_what_may_not_pass() -> None:
    service = Service(Limits(Buckets(Clock())))
    bucket = {"bucket": bucket_limit("m", 10 * SECOND, 1), "source": "a"}
    flight = {"flight": flight_limit("m", 1), "source": "a", "identity": "1"}
    assert ask(service, bucket)["overall_code"] == OK
    told = ask(service, bucket, flight)
    assert told["overall_code"] == OVER_LIMIT
    assert told["response_headers_to_add"] == [{"key": "retry-after", "value": "10"}]
    assert len(service.limits.flights) == 0
    assert ask(service, {**bucket, "source": "b"}, flight)["overall_code"] == OK
    assert ask(service, {**bucket, "source": "c"}, {**flight, "identity": "2"})["overall_code"] == OVER_LIMIT
    assert ask(service, {**bucket, "source": "c"})["overall_code"] == OK, "its token was not taken"


async def test_what_the_owner_refuses_is_not_under_way() -> None:
    limits = Limits()

    async def owner(asked: list[Asked]) -> int:
        return 5 * SECOND

    limits.ask_owner = owner
    flight = Asked(FLIGHT, "m a", 1, identity="1")
    assert await limits.decide([flight, Asked("shared", "m a", 1, SECOND)]) == (False, 5 * SECOND)
    assert await limits.decide([flight]) == (True, 0)


@given(st.binary(max_size=200))
def test_any_bytes_are_answered_or_refused(content: bytes) -> None:
    try:
        asyncio.run(Service(Limits()).answer(content))
    except GRPCError as error:
        assert error.message


@given(st.dictionaries(st.sampled_from(["bucket", "flight", "ended", "shared", "source", "identity", "x"]), st.text()))
def test_any_descriptor_is_answered_or_refused(descriptor: dict[str, str]) -> None:
    try:
        assert ask(Service(Limits()), descriptor)["overall_code"] in (OK, OVER_LIMIT)
    except GRPCError as error:
        assert "no descriptor of ours" in str(error.message)
