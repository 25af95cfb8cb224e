"""How much history is kept: by age, within a least and a most number of revisions; and what goes by itself when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sampan.store.expiries import Expiries, Expiry
from sampan.store.history import History
from sampan.store.protocol import Event, Record
from sampan.store.retention import Limits, Retention


def written(history: History, count: int) -> None:
    for _ in range(count):
        revision = history.revision + 1
        history.apply([Event(Record("/registry/a", b"{}", 1, revision), None, False)])


def test_what_is_older_than_the_age_goes_but_never_too_much() -> None:
    history = History()
    history.start(1)
    retention = Retention(Limits(keep_seconds=300, keep_at_least=10, keep_at_most=100), 0.0, 1)
    written(history, 50)
    assert retention.target(30.0, history) == 0, "nothing is due within a minute"
    assert retention.target(60.0, history) == 0, "nothing is old yet"
    written(history, 5)
    assert retention.target(361.0, history) == 46, "the ten newest stay, however old they are"
    history.forget(46)
    assert retention.target(400.0, history) == 0
    written(history, 195)
    assert retention.target(401.0, history) == history.revision - 100, "twice the most is too much at any age"


def test_a_longer_age_keeps_more() -> None:
    day = Limits.of(86_400)
    assert day.keep_seconds == 86_400 and day.keep_at_most == 20_000 * 288
    assert Limits.of(600).keep_at_most_bytes == 2 * Limits().keep_at_most_bytes and day.keep_at_most_bytes == 1 << 30
    assert Limits.of(60).keep_at_most == Limits().keep_at_most


@given(st.lists(st.floats(0, 100), max_size=30), st.floats(0, 100), st.integers(1, 40))
def test_what_is_due_goes_in_order(times: list[float], now: float, at_most: int) -> None:
    expiries = Expiries()
    for revision, at in enumerate(times):
        expiries.add(Expiry(at, revision, f"/registry/{revision}"))
    due = expiries.due(now, at_most)
    assert [expiry.at for expiry in due] == sorted(at for at in times if at <= now)[:at_most]
    left = sorted(times)[len(due) :]
    assert expiries.next() == (left[0] if left else None)


def test_what_only_the_past_keeps_is_bounded_by_bytes() -> None:
    history, retention = History(), Retention(Limits(keep_at_least=1000, keep_at_most_bytes=10_000), 0.0, 1)
    history.start(1)
    for revision in range(2, 30):
        previous = history.records.get("/registry/a")
        history.apply([Event(Record("/registry/a", b"x" * 1000, 2, revision), previous, False)])
        if target := retention.target(1.0, history):
            history.forget(target)
        assert history.size_bytes <= 20_000 == 2 * retention.limits.keep_at_most_bytes
    assert history.compacted > 2 and history.event_count() >= 10
    kept = history.since(history.compacted, "/registry/")
    assert history.size_bytes == sum(len(event.previous.value) for event in kept if event.previous)
    # what is written once is kept because it is the newest, not because of history
    for revision in range(30, 60):
        history.apply([Event(Record(f"/registry/{revision}", b"x" * 5000, revision, revision), None, False)])
    assert retention.target(1.0, history) == 0
    gone = history.records["/registry/59"]
    size = history.size_bytes
    history.apply([Event(gone._replace(revision=60), gone, True)])
    assert history.size_bytes == size + 10_000


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50), st.booleans()), max_size=40), st.integers(0, 45))
def test_bytes_of_the_past_are_those_of_its_events(writes: list[tuple[str, int, bool]], compacted: int) -> None:
    history = History()
    history.start(1)
    for revision, (name, size, deletes) in enumerate(writes, 2):
        previous = history.records.get(name)
        if deletes and previous is None:
            history.advance(revision)
            continue
        history.apply([Event(Record(name, b"x" * size, revision, revision), previous, deletes)])
    history.forget(min(compacted, history.revision))
    again = sum(
        len(event.previous.value) + (len(event.record.value) if event.deleted else 0)
        for event in history.since(history.compacted, "")
        if event.previous
    )
    assert history.size_bytes == again
    history.forget(history.oldest_within(100))
    assert history.size_bytes <= 100
