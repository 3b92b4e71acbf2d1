"""Finding a lab's commands, whoever else runs labs on this machine."""

from __future__ import annotations

import itertools
import os
import time
from typing import Protocol

import pytest

from tests.servers.processes import END_WITHIN_S, carrying

_LABS = itertools.count()


class Family(Protocol):
    """Lists the processes that run on the labs of one test."""

    def __call__(self, *, at_least: int = 0) -> set[int]:
        """Their ids, once there are so many: a shell that says "ready" may not have forked all of them."""


@pytest.fixture
def family(monkeypatch: pytest.MonkeyPatch) -> Family:
    """Mark the environment that commands get from the lab, by a variable that passes (``LC_*``)."""
    value = f"{os.getpid()}.{next(_LABS)}"
    monkeypatch.setenv("LC_MULTIRSH_TEST", value)

    def members(*, at_least: int = 0) -> set[int]:
        deadline = time.monotonic() + END_WITHIN_S
        while True:
            found = carrying(f"LC_MULTIRSH_TEST={value}")
            if len(found) >= at_least or time.monotonic() > deadline:
                return found
            time.sleep(0.01)

    return members
