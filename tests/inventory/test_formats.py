from __future__ import annotations

import pytest

from multirsh.inventory.document import read_document
from multirsh.inventory.formats import reader_of
from multirsh.inventory.plain import read_plain


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("web1\n", "hosts.yaml"),
        ("web1\n", "HOSTS.YML"),
        ("hosts:\n- a\n", "hosts"),
        ("# c\n\n  # d\ngroups: {}\n", "<stdin>"),
        ('"hosts": [a]', "hosts"),
        ("{hosts: [a]}", "hosts"),
        ("---\nhosts: [a]", "hosts"),
        ("hostz :\n- a", "hosts"),
    ],
)
def test_yaml_is_told_by_its_name_or_its_first_line(text: str, source: str) -> None:
    assert reader_of(text, source) is read_document


@pytest.mark.parametrize(
    "text", ["web1\n", "host:22\n", "::1", "[::1]:22", "# hosts:\nweb1", "- a", "a b", ""]
)
def test_all_else_is_a_plain_list(text: str) -> None:
    assert reader_of(text, "hosts.txt") is read_plain
