"""What several files of tests for the ssh transport need."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import HANG_GUARD_S


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Path]:
    """A real ssh-agent without keys: its socket."""
    path = tmp_path / "agent.sock"
    agent = subprocess.Popen(
        ["ssh-agent", "-D", "-a", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert agent.stdout is not None
    assert agent.stdout.readline().startswith("SSH_AUTH_SOCK="), "it tells its socket once that is there"
    yield path
    agent.send_signal(signal.SIGTERM)
    agent.communicate(timeout=HANG_GUARD_S)
