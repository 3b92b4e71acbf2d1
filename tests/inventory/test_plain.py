from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.errors import InventoryError
from multirsh.model import NO_SETTINGS, Settings
from tests.inventory.reading import any_names, attempt, place, read, refused

LIST = "hosts.txt"


def test_each_line_is_a_host_or_a_range() -> None:
    inventory = read(
        "# all of them\n\nweb1\n  web[02-03] # two\n\talice@db:2222\n::1\n[2001:db8::1]:22\nfe80::1%eth0",
        name=LIST,
    )
    assert [(host.name, host.settings) for host in inventory.hosts] == [
        ("web1", NO_SETTINGS),
        ("web02", NO_SETTINGS),
        ("web03", NO_SETTINGS),
        ("db", Settings(user="alice", port=2222)),
        ("::1", NO_SETTINGS),
        ("2001:db8::1", Settings(port=22)),
        ("fe80::1%eth0", NO_SETTINGS),
    ]


@pytest.mark.parametrize("text", ["a\nb\n", "a\r\nb\r\n", "a\rb\r", "\ufeffa\nb", "a\n\n\nb", "a \nb\t\n#"])
def test_lines_may_end_in_any_way(text: str) -> None:
    assert [host.name for host in read(text, name=LIST).hosts] == ["a", "b"]


def test_hosts_that_come_again_are_the_same() -> None:
    inventory = read("b\na\nb\nroot@b\n", name=LIST)
    assert [host.name for host in inventory.hosts] == ["b", "a"]
    assert inventory.by_name["b"].settings.user == "root"


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("a\nb c", (2, 2), "only one host can stand on a line"),
        ("a\n  b,c", (2, 4), "only one host can stand on a line"),
        ("a\nb[3-1]", (2, 3), "backwards"),
        ("a\n  u@b[1", (2, 6), "never closed"),
        ("a\nb:0", (2, 3), "'0' is not a port"),
        ("a\n-oProxyCommand=x", (2, 1), "cannot start with '-'"),
        ("a\n- b", (2, 1), "no place in a plain list"),
        ("a\nb;id", (2, 2), "';' cannot be"),
        ("a\n@web", (2, 1), "a user name is missing"),
        ("a\nb*", (2, 2), "'*' cannot be"),
        ("a\nalice@b\nbob@b", (3, 1), "user of b is bob here and alice at hosts.txt:2:1"),
        ("a\nh[1-999999999]", (2, 1), "too many"),
        ("# nothing\n", (None, None), "there are no hosts in it"),
    ],
)
def test_a_line_is_refused_with_its_place(
    text: str, where: tuple[int | None, int | None], message: str
) -> None:
    error = refused(text, name=LIST)
    assert message in error.message
    assert place(error) == where


@given(st.lists(any_names, min_size=1, max_size=10, unique=True))
def test_any_names_are_read_as_they_are(names: list[str]) -> None:
    assert [host.name for host in read("\n".join(names), name=LIST).hosts] == names


@given(st.text("ab1[]-,:@ \n\t\r\0#%é;$\u2028\u202e", max_size=30))
def test_any_text_makes_hosts_or_an_error_with_a_place(text: str) -> None:
    outcome = attempt(lambda: read(text, name=LIST))
    if isinstance(outcome, InventoryError):
        assert outcome.source == LIST
        assert str(outcome).isprintable()
    else:
        assert outcome.hosts
