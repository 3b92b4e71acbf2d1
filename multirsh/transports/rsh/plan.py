"""How one host is reached by rsh, all settings considered."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RshPlan:
    """What a connection needs to know.

    Attributes:
        address: A name or an IP literal.
        port: Where in.rshd listens.
        local_user: Who we say we are.
        remote_user: Whom the command runs as.
        is_merged: Whether stderr comes with stdout, on one connection.
    """

    address: str
    port: int
    local_user: bytes
    remote_user: bytes
    is_merged: bool
