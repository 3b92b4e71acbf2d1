"""Picking a port for a test server to listen on."""

from __future__ import annotations

import itertools
import os
import socket
from contextlib import nullcontext

from tests.servers.namespace import Namespace

_FIRST_IN_NAMESPACE = 2200


def free_port(namespace: Namespace | None, *, address: str = "127.0.0.1") -> int:
    """Find a port on which nothing listens, below the range that clients draw from.

    Clients cannot take it before the server binds it; another test run on the
    same machine could, so outside a namespace the search starts at a place of
    this process's own.
    """
    start = _FIRST_IN_NAMESPACE if namespace is not None else 10_000 + os.getpid() % 1_000 * 20
    with namespace.entered() if namespace is not None else nullcontext():
        for port in itertools.count(start):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((address, port))
                except OSError:
                    continue
                return port
    raise RuntimeError("no free port")
