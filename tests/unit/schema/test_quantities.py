"""resource.Quantity: parsing, canonical form, order, arithmetic."""

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.schema.quantity import MAX_INT64, NANO, Quantity, QuantityError, canonical_text, parse


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("1000m", "1"), ("0.5Gi", "512Mi"), ("1.5Ki", "1536"), ("100Mi", "100Mi"), ("1e3", "1e3"), ("1E", "1E"),
        ("1E3", "1e3"), ("0.1", "100m"), ("1500", "1500"), ("1000", "1k"), ("1024Ki", "1Mi"), ("1025Ki", "1025Ki"),
        ("-1.5", "-1500m"), (".5", "500m"), ("5.", "5"), ("0.1n", "1n"), ("-0", "0"), ("+5", "5"), ("0.5Ki", "512"),
        ("12345678901234567890", "12345678901234567890"), ("9999999Pi", "9223372036854775807"), ("1e30", "1e30"),
        ("99999999999999999999.5", "99999999999999999999500m"), ("0Mi", "0"), ("100m", "100m"), ("2e6", "2e6"),
    ],
)  # fmt: skip
def test_canonical(text, canonical):
    assert canonical_text(text) == canonical


@pytest.mark.parametrize("number", [(1, "1"), (0.5, "500m"), (1e-07, "100e-9"), (2048, "2048")])
def test_numbers(number):
    assert str(parse(number[0])) == number[1]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must match the regular expression"), ("abc", "must match the regular expression"),
        ("1 Gi", "must match the regular expression"), ("1Kii", "unable to parse quantity's suffix"),
        ("1KiB", "must match the regular expression"), ("1.2.3", "unable to parse numeric part"),
        (".", "unable to parse numeric part"), ("1e", "unable to parse quantity's suffix"),
        ("٣", "must match the regular expression"),
    ],
)  # fmt: skip
def test_bad(text, why):
    with pytest.raises(QuantityError, match=why):
        parse(text)


@pytest.mark.parametrize("text", ["1e999999999", "9" * 900, "1e-999999999", "0e999999999999"])
def test_extremes_are_quick_and_bounded(text):
    assert 0 <= parse(text).nano < 10**1000
    assert parse(text).value() <= MAX_INT64 and parse(text).milli() <= MAX_INT64


def test_order_and_arithmetic():
    assert parse("1Gi") > parse("1G") > parse("999M")
    assert parse("1") == parse("1000m")
    assert str(parse("500m") + parse("0.5")) == "1"
    assert str(parse("1Gi") - parse("512Mi")) == "512Mi"
    assert hash(parse("1")) == hash(parse("1000m"))
    assert not parse("0")


def test_values_round_away_from_zero():
    assert (parse("1500m").value(), parse("-1500m").value(), parse("1n").milli()) == (2, -2, 1)


suffixes = st.sampled_from(
    ["n", "u", "m", "", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3", "e-3"]
)


@given(st.integers(-(10**6), 10**6), st.integers(0, 999), suffixes)
def test_canonical_is_stable_and_keeps_the_value(whole, fraction, suffix):
    quantity = parse(f"{whole}.{fraction:03d}{suffix}")
    again = parse(str(quantity))
    assert str(again) == str(quantity)
    if quantity.format != "BinarySI" or quantity.nano % NANO == 0:
        assert again == quantity


@given(st.integers(0, 10**15), st.integers(0, 10**15))
def test_order_is_that_of_numbers(a, b):
    assert (Quantity(a) < Quantity(b)) == (Fraction(a, NANO) < Fraction(b, NANO))
    assert (Quantity(a) + Quantity(b)).nano == a + b


@given(st.text(max_size=20))
def test_any_text_parses_or_raises_quantity_error(text):
    with contextlib.suppress(QuantityError):
        str(parse(text))
