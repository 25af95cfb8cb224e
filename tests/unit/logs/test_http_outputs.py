"""Outputs over HTTP against servers that fail in every way: nothing is lost, and what is refused is counted and said."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from sampan.logs.outputs import delivering
from sampan.logs.outputs.batches import Numbered
from sampan.logs.outputs.delivering import Counts, deliver
from sampan.logs.outputs.dividing import divided
from sampan.logs.outputs.http_client import retry_after
from sampan.logs.outputs.otlp import logs_pb2 as pb
from tests.unit.logs.remote import READERS, Plan, Remote, Taken, batch_of, delivery, made, serving, texts_of

KINDS = sorted(READERS)
COUNT = 40


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivering, "FIRST_SECONDS", 0.0)


async def sent(kind: str, plan: Plan, **options: Any) -> tuple[Remote, Counts]:
    counts = Counts()
    async with serving(kind, plan) as remote:
        output = made(kind, url=remote.url, **options)
        await output.open(None)
        await deliver(output, batch_of(COUNT), counts)
        await output.close()
    assert counts.records + counts.refused == COUNT
    return remote, counts


def same(remote: Remote) -> bool:
    return sorted(remote.texts) == sorted(texts_of(COUNT))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "plan", [[503, 429, 502, 504], [401, 403, 404], ["close", 503, "close"], [413], [413, 413, 503]]
)
async def test_what_is_not_the_records_fault_is_asked_again(kind: str, plan: list[Any]) -> None:
    remote, counts = await sent(kind, plan)
    assert same(remote)
    assert counts.refused == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_that_hangs_is_left_and_asked_again(kind: str) -> None:
    remote, counts = await sent(kind, ["hang"], timeout="200ms")
    assert same(remote)
    assert counts.retries == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_500_is_asked_again_but_by_otlp_only_if_it_is_told_to(kind: str) -> None:
    options = {"retry_statuses": "500"} if kind == "otlp" else {}
    remote, counts = await sent(kind, [500, 500], **options)
    assert same(remote)
    assert counts.retries == 2


async def test_otlp_does_not_ask_again_where_the_specification_forbids_it() -> None:
    remote, counts = await sent("otlp", [500] * 200)
    assert counts.refused == COUNT
    assert counts.retries == 0
    assert remote.taken == []


@pytest.mark.parametrize("kind", KINDS)
async def test_one_bad_record_does_not_take_the_others_with_it(kind: str) -> None:
    """The server refuses every request that the record is in."""

    def picky(remote: Remote, found: Taken) -> web.Response:
        remote.plan.append(picky)
        if any(text == "INFO 17" for _, text in found):
            return web.Response(status=400, text="there is something bad in it")
        remote.taken += found
        return web.json_response({"errors": False}) if kind == "elasticsearch" else web.Response()

    remote, counts = await sent(kind, [picky])
    assert counts.refused == 1
    assert sorted(remote.texts) == sorted(text for text in texts_of(COUNT) if text != "INFO 17")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_request_is_not_larger_than_is_said(kind: str) -> None:
    remote, _ = await sent(kind, [], batch_bytes=2000)
    assert remote.requests > 4
    assert same(remote)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "http"])
async def test_what_came_twice_is_known_by_its_id(kind: str) -> None:
    remote, _ = await sent(kind, ["taken and close"])
    assert len(remote.taken) == 2 * COUNT
    assert len(set(remote.taken)) == COUNT


@pytest.mark.parametrize("kind", KINDS)
async def test_of_a_cluster_the_next_server_is_asked(kind: str) -> None:
    counts = Counts()
    async with serving(kind, [503]) as first, serving(kind, []) as second:
        output = made(kind, url=["http://127.0.0.1:1", first.url, second.url])
        await deliver(output, batch_of(COUNT), counts)
        await deliver(output, batch_of(5, first=COUNT), counts)
        await output.close()
    assert counts.retries == 2
    assert first.taken == []
    assert len(second.taken) == COUNT + 5


async def test_http_sends_an_array_and_texts() -> None:
    remote, _ = await sent("http", [503], format="json", headers={"X-Team": "shop"})
    assert same(remote)
    assert remote.headers[0]["X-Team"] == "shop"
    assert remote.headers[0]["Content-Encoding"] == "gzip"
    assert remote.headers[0]["Idempotency-Key"] == remote.headers[1]["Idempotency-Key"]


async def test_who_we_are(tmp_path: Any) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    async with serving("http", []) as remote:
        output = made("http", url=remote.url, bearer_token_file=str(token), compression="none")
        await output.deliver(batch_of(1))
        token.write_text("second\n")  # it is rotated
        await output.deliver(batch_of(1))
        await output.close()
        basic = made("elasticsearch", url=remote.url, user="u", password="p:w")
        remote.kind = "elasticsearch"
        await basic.deliver(batch_of(1))
        await basic.close()
        key = made("elasticsearch", url=remote.url, api_key="abc")
        await key.deliver(batch_of(1))
        await key.close()
    sent_as = [headers["Authorization"] for headers in remote.headers]
    assert sent_as == ["Bearer first", "Bearer second", "Basic dTpwOnc=", "ApiKey abc"]


async def test_every_item_of_bulk_is_answered_for_itself(caplog: pytest.LogCaptureFixture) -> None:
    def by_items(remote: Remote, found: Taken) -> web.Response:
        statuses = {"INFO 3": 429, "INFO 4": 503, "INFO 5": 409, "INFO 6": 400}
        items = []
        for identity, text in found:
            status = statuses.get(text, 201)
            item: dict[str, Any] = {"status": status}
            if status == 400:
                item["error"] = {
                    "type": "mapper_parsing_exception",
                    "reason": "failed to parse",
                    "caused_by": {"reason": "x"},
                }
            items.append({"create": item})
            if status == 201:
                remote.taken.append((identity, text))
        return web.json_response({"errors": True, "items": items}, headers={"Retry-After": "0"})

    remote, counts = await sent("elasticsearch", [by_items])
    assert counts.refused == 1
    assert sorted(remote.texts) == sorted(text for text in texts_of(COUNT) if text not in ("INFO 5", "INFO 6"))
    assert remote.requests == 2
    assert "mapper_parsing_exception failed to parse (x)" in caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        "<html>log in</html>", "[]", '{"errors":true,"items":null}', '{"errors":true,"items":[3]}',
        '{"errors":true,"items":[' + ",".join(['{"create":null}'] * COUNT) + "]}",
        '{"errors":true,"items":[' + ",".join(['{"create":{"status":503,"error":"away"}}'] * COUNT) + "]}",
    ],
)  # fmt: skip
async def test_an_answer_that_is_none_of_bulk_acknowledges_nothing(answer: str) -> None:
    async with serving("elasticsearch", [lambda _, __: web.Response(text=answer)]) as remote:
        output = made("elasticsearch", url=remote.url)
        counts = Counts()
        await deliver(output, batch_of(COUNT), counts)
        await output.close()
    assert counts.retries == 1
    assert same(remote)


async def test_what_loki_ignores_is_counted_and_not_sent_again() -> None:
    def some(remote: Remote, found: Taken) -> web.Response:
        remote.taken += found[7:]
        text = "entry with timestamp 1 ignored, reason: 'entry too far behind',\ntotal ignored: 7 out of 40"
        return web.Response(status=400, text=text)

    remote, counts = await sent("loki", [some])
    assert (counts.refused, counts.records, remote.requests) == (7, 33, 1)


async def test_equal_records_without_a_time_stay_apart_in_loki() -> None:
    from sampan.logs.outputs.loki import Loki

    output = made("loki", url="http://localhost", labels="namespace,team=tea,pod")
    assert isinstance(output, Loki)
    import orjson

    body = orjson.loads(output.body([delivery("tick", time=b"")] * 3 + [delivery("tick")]))
    (stream,) = body["streams"]
    assert stream["stream"] == {"namespace": "shop", "team": "tea", "pod": "web-1"}
    times = [value[0] for value in stream["values"]]
    assert len(set(times)) == 4


async def test_partial_success_of_otlp(caplog: pytest.LogCaptureFixture) -> None:
    def partly(remote: Remote, found: Taken) -> web.Response:
        remote.taken += found[2:]
        success = pb.ExportLogsPartialSuccess(rejected_log_records=2, error_message="too old")
        return web.Response(body=pb.ExportLogsServiceResponse(partial_success=success).SerializeToString())

    def warned(remote: Remote, found: Taken) -> web.Response:
        remote.taken += found
        success = pb.ExportLogsPartialSuccess(error_message="soon deprecated")
        return web.Response(body=pb.ExportLogsServiceResponse(partial_success=success).SerializeToString())

    with caplog.at_level(logging.WARNING):
        remote, counts = await sent("otlp", [partly])
        assert (counts.refused, counts.records, remote.requests) == (2, 38, 1)
        _, counts = await sent("otlp", [warned])
    assert counts.refused == 0
    assert "too old" in caplog.text
    assert "soon deprecated" in caplog.text


def test_retry_after_in_seconds_and_as_a_date() -> None:
    assert retry_after("7") == 7
    assert retry_after("Mon, 30 Nov 2020 10:00:00 GMT") == 0
    assert (retry_after(""), retry_after("soon"), retry_after("99999999")) == (None, None, 99999999)


@given(st.text(min_size=1, max_size=3000), st.integers(300, 900))
def test_a_record_in_parts_is_all_of_it(text: str, most: int) -> None:
    whole = delivery(text.encode("utf-8", "ignore").decode())
    parts = divided(whole, lambda one: len(one[1].text) <= most, "id-1")
    assert b"".join(part[1].text for part in parts) == whole[1].text
    for part in parts:
        part[1].text.decode()
        assert len(part[1].text) <= most
    if len(parts) > 1:
        assert [(part[1].id, part[1].part) for part in parts] == [("id-1", number) for number in range(len(parts))]


async def test_a_line_that_is_longer_than_loki_takes_goes_in_parts() -> None:
    text = "ERROR " + "ä" * 5000
    async with serving("loki", []) as remote:
        output = made("loki", url=remote.url, line_bytes="2Ki")
        await output.deliver(Numbered([delivery(text)], ["id-1"]))
        await output.close()
    assert "".join(remote.texts) == text
    assert [identity for identity, _ in remote.taken] == [f"id-1.{number}" for number in range(len(remote.taken))]
    assert all(len(one.encode()) <= 2048 for one in remote.texts)
