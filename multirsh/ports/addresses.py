"""The kernel's packed addresses as text, each worded once.

A table of 10,000 sockets has few addresses many times over, and wording one
costs more than the rest of its row.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeVar

IPV4_BYTES: Final = 4

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Once(dict[_Key, _Value]):
    """What a function makes of each key, made when it is first looked up, and kept.

    Args:
        make: The function.
    """

    def __init__(self, make: Callable[[_Key], _Value]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: _Key) -> _Value:
        value = self[key] = self._make(key)
        return value


def word_ipv4(packed: bytes) -> str:
    """Word the first four bytes, network order."""
    return socket.inet_ntop(socket.AF_INET, packed[:IPV4_BYTES])


@lru_cache(maxsize=4096)
def word_ipv6(packed: bytes) -> str:
    """Word sixteen bytes, network order; an IPv4 address within (RFC 4291, section 2.5.5.2) as IPv4.

    By ``ipaddress``, since C libraries differ in where they write ``::`` and dots.
    """
    address = ipaddress.IPv6Address(packed)
    return str(address.ipv4_mapped or address)


def pack(address: str) -> bytes:
    """Pack an address into four or sixteen bytes, network order.

    Raises:
        ValueError: It is not an address as ``Endpoint`` has it.
    """
    return ipaddress.ip_address(address).packed
