"""Waiting for what a test needs to see, however busy the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

HANG_GUARD_S: Final = 300.0
"""Seconds after which a wait is taken for a hang. No test means to reach this, and none measures with it."""

_INTERVAL_S: Final = 0.01


def wait_until(holds: Callable[[], bool], *, what: str) -> None:
    """Wait until ``holds()`` is true.

    Raises:
        AssertionError: It hangs; ``what`` is in the message.
    """
    deadline = time.monotonic() + HANG_GUARD_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {HANG_GUARD_S} s: {what}"
        time.sleep(_INTERVAL_S)
