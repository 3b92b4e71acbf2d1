"""Prompts for secrets on the terminal, while runs that use it pause."""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, TypeAlias

from multirsh.output.escape import escape_text

TERMINAL = "/dev/tty"
Pause: TypeAlias = Callable[[bool], None]

LOOK_AGAIN_S: Final = 1.0
"""Seconds between checks of a terminal that belongs to another job."""

LONGEST_BYTES: Final = 4096
"""The longest line that a terminal takes (termios(3), MAX_CANON)."""

_one_at_a_time: Final = threading.Lock()
_users: Final[list[Pause]] = []


def secret_prompt() -> Callable[[str], str] | None:
    """Return a function that prompts for a secret on the terminal; ``None`` if there is no terminal."""
    return None if _settings() is None else _prompt_for_secret


def _prompt_for_secret(prompt: str) -> str:
    """Prompt for a secret, in a thread of its own, which Ctrl-C leaves where it is, with the echo off.

    The settings of the terminal are restored at exit only during the prompt: at other times they may be those
    of another job.

    Raises:
        EOFError: There is no answer: end of file was typed, or the run that needed it is over.
        OSError: The terminal is gone.
    """
    with _one_at_a_time, _users_paused() as users:
        restore = partial(_restore, _settings())
        atexit.register(restore)
        try:
            return _read_without_echo(prompt, users)
        finally:
            restore()
            atexit.unregister(restore)


def _read_without_echo(prompt: str, users: Sequence[Pause]) -> str:
    """Switch the echo off, show the prompt and read a line; the caller restores the settings."""
    descriptor = os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        settings = termios.tcgetattr(descriptor)
        settings[3] &= ~termios.ECHO
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, settings)
        os.write(descriptor, escape_text(prompt).encode(errors="replace"))
        while not (select.select([descriptor], [], [], LOOK_AGAIN_S)[0] and _is_ours()):
            if not set(users) <= set(_users):
                raise EOFError("the run that needed the answer is over")
            if not _is_ours():
                time.sleep(LOOK_AGAIN_S)
        line = os.read(descriptor, LONGEST_BYTES)
    finally:
        os.close(descriptor)
    if not line:
        raise EOFError("no answer was typed")
    return line.removesuffix(b"\n").decode(errors="replace")


@contextlib.contextmanager
def paused_by_prompts(pause: Pause) -> Iterator[None]:
    """Let a run use the terminal, and pause it during prompts for secrets.

    A prompt that is left when the run is over ends within ``LOOK_AGAIN_S``.

    Args:
        pause: Called in the thread that prompts: with ``True`` before the prompt, and ``False`` after it.
    """
    _users.append(pause)
    try:
        yield
    finally:
        _users.remove(pause)


@contextlib.contextmanager
def _users_paused() -> Iterator[Sequence[Pause]]:
    """Pause the runs that use the terminal."""
    users = tuple(_users)
    while users and not _is_ours():  # to read it now would stop the run
        time.sleep(LOOK_AGAIN_S)
    for pause in users:
        pause(True)
    try:
        yield users
    finally:
        for pause in users:
            pause(False)


def _is_ours() -> bool:
    """Whether our job is in the foreground (tcgetpgrp(3)), or the terminal is gone."""
    try:
        descriptor = os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return True
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return True
    finally:
        os.close(descriptor)


def _settings() -> list[object] | None:
    """Read the settings of the terminal (termios(3)); ``None`` if there is none."""
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
            if _is_ours() and termios.tcgetattr(descriptor) != settings:
                termios.tcsetattr(descriptor, termios.TCSADRAIN, settings)  # type: ignore[arg-type]  # as tcgetattr gave it
                os.write(descriptor, b"\n")  # leave the line of the prompt that was not answered
        finally:
            os.close(descriptor)
