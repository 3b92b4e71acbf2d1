"""The person at the terminal: asked for secrets, answered on stderr."""

from __future__ import annotations

import atexit
import contextlib
import getpass
import os
import termios
from collections.abc import Callable

TERMINAL = "/dev/tty"


def asker() -> Callable[[str], str] | None:
    """How to ask the person at the terminal for a secret; ``None`` where there is no terminal."""
    try:
        descriptor = os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return None
    try:
        # Asked in a thread of its own, which Ctrl-C leaves where it is: with the echo off.
        settings = termios.tcgetattr(descriptor)
    except termios.error:
        return None
    finally:
        os.close(descriptor)
    atexit.register(_restore, settings)
    return getpass.getpass


def _restore(settings: list[object]) -> None:
    with contextlib.suppress(OSError, termios.error):
        descriptor = os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY)
        try:
            if termios.tcgetattr(descriptor) != settings:
                termios.tcsetattr(descriptor, termios.TCSADRAIN, settings)  # type: ignore[arg-type]  # as tcgetattr gave it
                os.write(descriptor, b"\n")  # away from the prompt that was not answered
        finally:
            os.close(descriptor)
