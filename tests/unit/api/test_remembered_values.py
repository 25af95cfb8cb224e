"""Values kept within a number of bytes: the oldest goes first, what is too large is not kept at all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sampan.api.remembered import Remembered


def test_the_oldest_goes_first() -> None:
    kept: Remembered[str, int] = Remembered(10)
    for key in "abc":
        kept.put(key, ord(key), 4)
    assert [kept.get(key) for key in "abc"] == [None, ord("b"), ord("c")]


def test_what_is_too_large_is_not_kept_and_nor_is_what_it_replaces() -> None:
    kept: Remembered[str, int] = Remembered(10)
    kept.put("a", 1, 4)
    kept.put("b", 2, 4)
    kept.put("a", 3, 11)
    assert (kept.get("a"), kept.get("b")) == (None, 2)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 12))))
def test_it_never_holds_more_than_it_may(puts: list[tuple[int, int]]) -> None:
    kept: Remembered[int, int] = Remembered(20)
    for key, size in puts:
        kept.put(key, size, size)
        assert kept.get(key) == (size if size <= 20 else None)
        assert sum(kept.get(key) or 0 for key in range(6)) <= 20
