from __future__ import annotations

import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.errors import NodeSetError
from multirsh.inventory.ranges import MAX_NAMES, expand
from multirsh.inventory.text import is_ipv6
from tests.inventory.reading import any_names, attempt, expression_texts


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("web1", "web1"),
        ("web[1-3]", "web1 web2 web3"),
        ("web[01-03].example.com", "web01.example.com web02.example.com web03.example.com"),
        ("web[08-11]", "web08 web09 web10 web11"),
        ("web[98-101]", "web98 web99 web100 web101"),
        ("web[098-101]", "web098 web099 web100 web101"),
        ("web[09-100/91]", "web09 web100"),
        ("web[1-9/4]", "web1 web5 web9"),
        ("web[1-2,7,05]", "web1 web2 web7 web05"),
        ("web[0]", "web0"),
        ("web[00-01]", "web00 web01"),
        ("web[01:03]", "web01 web02 web03"),
        ("web[1:9:4]", "web1 web5 web9"),
        ("r[1-2]n[1-2]", "r1n1 r1n2 r2n1 r2n2"),
        ("[1-2][1-2]", "11 12 21 22"),
        ("[01:02]x", "01x 02x"),
        ("a,b[1-2], c ", "a b1 b2 c"),
        ("a,a,b,a", "a b"),
        ("a,,b", "a b"),
        (" ,a, ,", "a"),
        ("a[1,,3,]", "a1 a3"),
        ("a[ 1, 3 -\t4 , 5 - 9 / 2 ]", "a1 a3 a4 a5 a7 a9"),
        ("a[1 : 5 : 4]", "a1 a5"),
        ("rack[a-d]", "racka rackb rackc rackd"),
        ("rack[A-C,x]", "rackA rackB rackC rackx"),
        ("rack[a-g/3]n[1-2]", "rackan1 rackan2 rackdn1 rackdn2 rackgn1 rackgn2"),
        ("rack[a:c]", "racka rackb rackc"),
        ("2001:db8::[a-b]", "2001:db8::a 2001:db8::b"),
        ("a[1,1]", "a1"),
        ("10.0.0.[9-11]", "10.0.0.9 10.0.0.10 10.0.0.11"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("[fe80::1%eth0]", "fe80::1%eth0"),
        ("2001:db8::[8-10]", "2001:db8::8 2001:db8::9 2001:db8::10"),
        ("[1-2]::5", "1::5 2::5"),
        ("[1-2]::[1-2]", "1::1 1::2 2::1 2::2"),
        ("_srv.a-b", "_srv.a-b"),
    ],
)
def test_a_pattern_stands_for(text: str, names: str) -> None:
    assert expand(text) == names.split()


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", 1, "missing"),
        (",,", 1, "missing"),
        ("web[3-1]", 5, "backwards, from 3 down to 1"),
        ("web[1,3-1]", 7, "backwards"),
        ("web[1[2]]", 6, "inside brackets"),
        ("web[1", 4, "never closed"),
        ("a,web[1", 6, "never closed"),
        ("web1]", 5, "closes nothing"),
        ("web[1]]", 7, "closes nothing"),
        ("web[]", 5, "a number is missing"),
        ("web[, ]", 5, "a number is missing"),
        ("web[1 2]", 5, "not a range"),
        ("web[ab-ad]", 5, "not a range"),
        ("web[c-a]", 5, "backwards, from c down to a"),
        ("web[a-C]", 5, "not of one kind"),
        ("web[a-3]", 5, "not of one kind"),
        ("web[a-c/0]", 5, "steps of 0"),
        ("web[-3]", 5, "not a range"),
        ("web[1-3/]", 5, "not a range"),
        ("web[1-3:2]", 5, "not a range"),
        ("web[1-3/0]", 5, "steps of 0"),
        ("web[1-010]", 5, "padded differently"),
        ("web[010-99]", 5, "padded differently"),
        (f"web[1-{'9' * 19}]", 5, "too long"),
        ("h[1-999999999]", 1, "999,999,999 names are too many"),
        ("h[1-1000]x[1-1001]", 1, "1,001,000 names are too many"),
        ("a[1-600000],b[1-600000]", 13, "1,200,000 names are too many"),
        ("-oProxyCommand=x", 1, "cannot start with '-'"),
        (".ssh", 1, "cannot start with '.'"),
        ("a;id", 2, "';' cannot be"),
        ("a b", 2, "a blank cannot be"),
        ("a\nb", 2, "U+000A cannot be"),
        ("a\0b", 2, "U+0000 cannot be"),
        ("a$(id)", 2, "'$' cannot be"),
        ("a/../b", 2, "'/' cannot be"),
        ("web*", 4, "'*' cannot be"),
        ("b\u00fccher.example", 2, "'\u00fc' cannot be"),
        ("web1:22", 1, "neither a host name nor an IPv6 address"),
        ("::g", 1, "neither"),
        ("::1%", 1, "neither"),
        ("eth%0", 1, "neither"),
        ("::[65535-65536]", 1, "neither"),
        ("a" * 254, 1, "a host name of 254 characters"),
        ("a" * 250 + "[999-1000]", 1, "a host name of 254 characters"),
    ],
)
def test_a_pattern_is_refused_with_its_column(text: str, column: int, message: str) -> None:
    with pytest.raises(NodeSetError) as caught:
        expand(text, source="-w")
    error = caught.value
    assert message in error.message
    assert (error.source, error.line, error.column) == ("-w", None, column)
    assert error.position == column - 1
    assert error.text == text


def test_a_name_outside_ascii_is_told_its_ascii_form() -> None:
    with pytest.raises(NodeSetError) as caught:
        expand("b\u00fccher.example")
    assert caught.value.hint == "write it as xn--bcher-kva.example"


def test_too_many_names_are_refused_before_they_are_made() -> None:
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(NodeSetError):
        expand("h[1-999999999]")
    took = time.process_time() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert took < 1
    assert peak < 1_000_000


def test_the_largest_pattern_is_read() -> None:
    assert len(expand(f"h[1-{MAX_NAMES}]")) == MAX_NAMES


@given(any_names)
def test_a_name_stands_for_itself(name: str) -> None:
    assert expand(name) == [name]


@given(st.integers(0, 300), st.integers(0, 300), st.integers(1, 40), st.integers(1, 4))
def test_a_run_counts_as_python_does(low: int, length: int, step: int, width: int) -> None:
    first, last = str(low).zfill(width), str(low + length).zfill(width)
    padded = width if first[0] == "0" else 1
    expected = [f"n{number:0{padded}}" for number in range(low, low + length + 1, step)]
    assert expand(f"n[{first}-{last}/{step}]") == expected


@given(expression_texts)
def test_any_text_makes_safe_names_or_an_error_with_a_place(text: str) -> None:
    outcome = attempt(lambda: expand(text))
    if isinstance(outcome, NodeSetError):
        assert 0 <= outcome.position <= len(text)
        assert str(outcome).isprintable()
    else:
        assert isinstance(outcome, list)
        assert outcome
        assert all(name[0] not in "-." for name in outcome)
        assert all(is_ipv6(name) or set(name) <= set("ab1290-.") for name in outcome)


def test_a_count_of_thousands_of_digits_is_refused_in_words() -> None:
    with pytest.raises(NodeSetError, match="that many names are too many"):
        expand("h[1-999999999]" * 700)
