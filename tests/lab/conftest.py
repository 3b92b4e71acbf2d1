"""Finding a lab's commands, whoever else runs labs on this machine."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable

import pytest

from tests.servers.processes import carrying

_LABS = itertools.count()

Family = Callable[[], set[int]]
"""Lists the processes that run on the labs of one test."""


@pytest.fixture
def family(monkeypatch: pytest.MonkeyPatch) -> Family:
    """Mark the environment that commands get from the lab, by a variable that passes (``LC_*``)."""
    value = f"{os.getpid()}.{next(_LABS)}"
    monkeypatch.setenv("LC_MULTIRSH_TEST", value)
    return lambda: carrying(f"LC_MULTIRSH_TEST={value}")
