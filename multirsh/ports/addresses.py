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
IPV6_BYTES: Final = 16

_Raw = TypeVar("_Raw")


class Addresses(dict[_Raw, str]):
    """Text by what the kernel shows; what is not there yet is worded and kept.

    Args:
        word: How to word one.
    """

    def __init__(self, word: Callable[[_Raw], str]) -> None:
        super().__init__()
        self._word = word

    def __missing__(self, raw: _Raw) -> str:
        text = self[raw] = self._word(raw)
        return text


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
