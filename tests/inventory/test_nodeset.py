from __future__ import annotations

import operator
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.errors import NodeSetError
from multirsh.inventory.nodeset import (
    Operand,
    OperandKind,
    Operator,
    evaluate,
    glob_matcher,
    parse,
    parse_group_list,
)
from tests.inventory.reading import attempt, expression_texts


def names_of(operand: Operand) -> list[str]:
    return list(operand.words.names())


def result(text: str) -> list[str]:
    return list(evaluate(parse(text), names_of))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a,b,a", "a b"),
        ("a[1-5]!a[2-3]", "a1 a4 a5"),
        ("a[1-5]!a2,a2", "a1 a3 a4 a5 a2"),
        ("a,b&b,c", "b c"),
        ("a[1-3]^a[2-5]", "a1 a4 a5"),
        ("a[1-5]&a[2-9]^a3", "a2 a4 a5"),
        ("a ! b , c", "a c"),
        ("a!a", ""),
        ("a,,b", "a b"),
        (",a, ,b,", "a b"),
        ("a,b,!b", "a"),
        ("a,!b", "a"),
    ],
)
def test_operators_go_from_left_to_right(text: str, names: str) -> None:
    assert result(text) == names.split()


SETS = {"a": {"1", "2", "3"}, "b": {"2", "3", "4"}, "c": {"3", "5"}, "d": set[str]()}
PYTHON: dict[str, Callable[[set[str], set[str]], set[str]]] = {
    ",": operator.or_,
    "!": operator.sub,
    "&": operator.and_,
    "^": operator.xor,
}


@given(
    st.sampled_from("abcd"), st.lists(st.tuples(st.sampled_from(",!&^"), st.sampled_from("abcd")), max_size=8)
)
def test_the_algebra_is_that_of_sets(first: str, rest: list[tuple[str, str]]) -> None:
    expected = SETS[first]
    for sign, name in rest:
        expected = PYTHON[sign](expected, SETS[name])
    text = first + "".join(sign + name for sign, name in rest)
    got = evaluate(parse(text), lambda operand: sorted(SETS[operand.text.text]))
    assert set(got) == expected


def test_an_expression_becomes_terms() -> None:
    first, second, third, fourth = parse("root@web[1-2]:22,@rack[1-2]!db*&::1")
    assert (first.operand.kind, first.operand.user, first.operand.port) == (OperandKind.NAMES, "root", 22)
    assert names_of(first.operand) == ["web1", "web2"]
    assert (second.operator, second.operand.kind) == (Operator.UNION, OperandKind.GROUPS)
    assert names_of(second.operand) == ["rack1", "rack2"]
    assert (third.operator, third.operand.kind) == (Operator.DIFFERENCE, OperandKind.GLOBS)
    assert (fourth.operator, names_of(fourth.operand)) == (Operator.INTERSECTION, ["::1"])


@pytest.mark.parametrize(
    ("text", "user", "host", "port"),
    [
        ("alice@web", "alice", "web", None),
        ("web:22", None, "web", 22),
        ("[::1]:2222", None, "::1", 2222),
        ("a@[fe80::1%eth0]:1", "a", "fe80::1%eth0", 1),
        ("::1", None, "::1", None),
        ("CORP\\ann@web", "CORP\\ann", "web", None),
        ("ann@corp.example@web:65535", "ann@corp.example", "web", 65535),
        ("web[01:01]:22", None, "web01", 22),
        ("2001:db8::[1-1]", None, "2001:db8::1", None),
    ],
)
def test_a_login_stands_around_a_name(text: str, user: str | None, host: str, port: int | None) -> None:
    (term,) = parse(text)
    assert (term.operand.user, names_of(term.operand), term.operand.port) == (user, [host], port)


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", 1, "no host is named"),
        ("  ", 1, "no host is named"),
        ("!web", 1, "a name is missing at '!'"),
        (",,", 1, "no host is named"),
        (",!b", 2, "a name is missing at '!'"),
        ("a!", 2, "a name is missing at '!'"),
        ("a!,b", 2, "a name is missing at '!'"),
        ("a&!b", 2, "a name is missing at '&'"),
        ("a!web[3-1]", 7, "backwards"),
        ("a,h[1-999999999]", 3, "too many"),
        ("@", 1, "a group name is missing"),
        ("a,@we;b", 6, "';' cannot be"),
        ("@web:22", 2, "cannot name a group"),
        ("root@@web", 5, "a user cannot be given to a group"),
        ("@web@db", 2, "cannot name a group"),
        ("-x@web", 1, "cannot start with '-'"),
        ("a b@web", 2, "cannot be in a user name"),
        ("@x[1-3", 3, "never closed"),
        ("a@", 3, "missing"),
        ("a,@@web", 4, "cannot name a group"),
        ("web:0", 5, "'0' is not a port"),
        ("web:70000", 5, "not a port"),
        ("web:022", 5, "not a port"),
        ("web:", 5, "not a port"),
        ("web1!root@web2", 6, "no meaning after '!'"),
        ("a*[1-2000]", 1, "2,000 globs are too many"),
    ],
)
def test_an_expression_is_refused_with_its_column(text: str, column: int, message: str) -> None:
    with pytest.raises(NodeSetError) as caught:
        parse(text)
    assert message in caught.value.message
    assert caught.value.column == column


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("@web", 1, "without '@'"),
        (",", 1, "missing"),
        ("prod!web", 5, "'!' cannot be used between groups"),
        ("web,a&b", 6, "'&' cannot be used between groups"),
        ("a b", 2, "a blank cannot be"),
    ],
)
def test_a_group_list_is_refused_with_its_column(text: str, column: int, message: str) -> None:
    with pytest.raises(NodeSetError) as caught:
        parse_group_list(text)
    assert message in caught.value.message
    assert (caught.value.source, caught.value.column) == ("-g", column)


def test_a_group_list_is_names_ranges_and_globs() -> None:
    assert [names_of(operand) for operand in parse_group_list("web, rack[1-2],db*")] == [
        ["web"],
        ["rack1", "rack2"],
        ["db*"],
    ]


@given(st.text("ab*?.", max_size=8), st.text("ab.", max_size=8))
def test_a_glob_matches_as_its_slow_definition_does(glob: str, name: str) -> None:
    slow = "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in glob)
    assert glob_matcher(glob)(name) == (re.fullmatch(slow, name) is not None)


def test_a_glob_of_many_stars_takes_no_time() -> None:
    assert not glob_matcher("*a" * 60 + "*b")("a" * 253)


@given(expression_texts)
def test_any_text_makes_terms_or_an_error_with_a_place(text: str) -> None:
    for outcome in (attempt(lambda: parse(text)), attempt(lambda: parse_group_list(text))):
        if isinstance(outcome, NodeSetError):
            assert 0 <= outcome.position <= len(text)
            assert outcome.column == outcome.position + 1
            assert str(outcome).isprintable()
        else:
            assert outcome
