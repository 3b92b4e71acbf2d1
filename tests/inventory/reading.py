"""What the tests of this room share: reading text as if it were a file, and names to try."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import strategies as st

from multirsh.errors import InventoryError
from multirsh.inventory import Inventory
from multirsh.inventory.draft import Draft, resolve
from multirsh.inventory.files import read_bytes

Value = TypeVar("Value")


def read(*texts: str | bytes, name: str = "hosts.yaml") -> Inventory:
    """The inventory that files of these texts make; all have the same name."""
    draft = Draft()
    for text in texts:
        read_bytes(text.encode() if isinstance(text, str) else text, name, draft)
    by_name, graph = resolve(draft)
    return Inventory(by_name=by_name, graph=graph, sources=tuple(draft.sources))


def refused(*texts: str | bytes, name: str = "hosts.yaml") -> InventoryError:
    """The error that files of these texts make."""
    with pytest.raises(InventoryError) as caught:
        read(*texts, name=name)
    return caught.value


def attempt(call: Callable[[], Value]) -> Value | InventoryError:
    """What a call gives, or the error of this room that it raises; any other is a bug and passes."""
    try:
        return call()
    except InventoryError as error:
        return error


def place(error: InventoryError) -> tuple[int | None, int | None]:
    """Line and column of an error."""
    return error.line, error.column


words = st.text("abxyz.-_", min_size=1, max_size=4).filter(lambda word: word[0] not in ".-")
numbers = st.one_of(
    st.integers(0, 12).map(str),
    st.integers(0, 120).map(str),
    st.tuples(st.integers(0, 120), st.integers(1, 4)).map(lambda pair: str(pair[0]).zfill(pair[1])),
    st.from_regex(r"[0-9]{1,25}", fullmatch=True),
)
host_names = st.lists(st.one_of(words, numbers), min_size=1, max_size=5).map("".join)
"""Names rich in numbers, padded in every way."""

ipv6_names = st.builds(
    lambda address, zone: str(address) + zone,
    st.ip_addresses(v=6),
    st.sampled_from(["", "%eth0", "%2"]),
)

any_names = st.one_of(host_names, ipv6_names)

expression_texts = st.text("ab1290[],-/:!&^@*?%. \n\0é$;'\"", max_size=30)
"""Texts made of what expressions are made of, and of what must never get through."""
