"""The person at the terminal: asked for secrets, answered on stderr."""

from __future__ import annotations

import atexit
import contextlib
import getpass
import os
import termios
from collections.abc import Callable
from functools import partial

from multirsh.output.escape import escape_text

TERMINAL = "/dev/tty"


def asker() -> Callable[[str], str] | None:
    """How to ask the person at the terminal for a secret; ``None`` where there is no terminal."""
    return None if _settings() is None else _ask


def _ask(prompt: str) -> str:
    """Ask. This is done in a thread of its own, which Ctrl-C leaves where it is: with the echo off.

    The settings are looked after only meanwhile: at other times they may be those of another job.
    """
    restore = partial(_restore, _settings())
    atexit.register(restore)
    try:
        return getpass.getpass(escape_text(prompt))
    finally:
        atexit.unregister(restore)


def _settings() -> list[object] | None:
    """The terminal's (termios(3)); ``None`` where there is none."""
    try:
        descriptor = os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return None
    try:
        return termios.tcgetattr(descriptor)
    except termios.error:
        return None
    finally:
        os.close(descriptor)


def _restore(settings: list[object] | None) -> None:
    if settings is None:
        return
    with contextlib.suppress(OSError, termios.error):
        descriptor = os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY)
        try:
            if termios.tcgetattr(descriptor) != settings:
                termios.tcsetattr(descriptor, termios.TCSADRAIN, settings)  # type: ignore[arg-type]  # as tcgetattr gave it
                os.write(descriptor, b"\n")  # away from the prompt that was not answered
        finally:
            os.close(descriptor)
