"""A user with a home of its own, and hosts that this user knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.remotes import Remotes
from tests.program import Program
from tests.servers.daemon import Daemon
from tests.servers.namespace import Namespace


@pytest.fixture
def on_sshd(sshd: Daemon, in_module_namespace: Namespace, multirsh: Program) -> Program:
    """The program, in a namespace where ``h01`` to ``h20`` are one sshd; ``hosts.yaml`` lists them."""
    multirsh.knows(sshd)
    return multirsh


@pytest.fixture
def remotes(tmp_path: Path) -> Remotes:
    """Commands that tell when they run."""
    return Remotes(tmp_path)
