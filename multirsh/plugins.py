"""What other distributions add to multirsh, by name: looked up, and not loaded here.

Source: the entry points specification (packaging.python.org), importlib.metadata.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

TRANSPORTS: Final = "multirsh.transports"
"""The group of entry points whose names are transports, and whose objects are ``base.TransportFactory``."""


@functools.cache
def installed_transports() -> Mapping[str, tuple[EntryPoint, ...]]:
    """Those of other distributions: by name all that have it, which should be one.

    It reads every distribution's metadata, so it is asked only for names that are none of our own.
    """
    from importlib.metadata import entry_points  # noqa: PLC0415 - it takes long, and is seldom needed

    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=TRANSPORTS):
        found[point.name] = (*found.get(point.name, ()), point)
    return found
