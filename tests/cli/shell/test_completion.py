"""What Tab offers."""

from __future__ import annotations

import pytest

from multirsh.cli.shell.completion import MOST, Vocabulary, candidates

WORDS = Vocabulary(("web1", "web2", "db1"), ("web", "prod"))
TYPED = ["uptime", "uname -a", " secret", "!ls", "uptime -p", "./x"]


@pytest.mark.parametrize(
    ("before", "part", "found"),
    [
        ("u", "u", "uptime uname"),
        ("uname -", "uname -", ""),
        ("", "", "uptime uname secret"),
        (".st", ".st", ".status"),
        ("@w", "w", "web1 web2"),
        ("@", "", "@web @prod web1 web2 db1"),
        ("@@", "@", "@web @prod"),
        ("@@p", "@p", "@prod"),
        ("+web1,d", "d", "db1"),
        ("-web*!web", "web", "web1 web2"),
        (".select db", "db", "db1"),
        (".reconnect @w", "@w", "@web"),
        ("=g", "g", "gather gather-all"),
        (".mode d", "d", "diff"),
    ],
)
def test_candidates(before: str, part: str, found: str) -> None:
    assert candidates(before, WORDS, TYPED) == (part, found.split())


def test_a_large_fleet_is_not_listed_in_full() -> None:
    many = Vocabulary(tuple(f"n{number}" for number in range(100_000)), ("all",))
    part, found = candidates("@", many, [])
    assert (part, found[0], len(found)) == ("", "@all", MOST)
