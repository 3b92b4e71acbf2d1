"""The person at the terminal: asked for secrets, answered on stderr."""

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
GiveWay: TypeAlias = Callable[[bool], None]

LOOK_AGAIN_S: Final = 1.0
"""Seconds until a terminal that belongs to another job is looked at again."""

LONGEST_BYTES: Final = 4096
"""A terminal takes no longer line (termios(3), MAX_CANON)."""

_one_at_a_time: Final = threading.Lock()
_users: Final[list[GiveWay]] = []


def asker() -> Callable[[str], str] | None:
    """How to ask the person at the terminal for a secret; ``None`` where there is no terminal."""
    return None if _settings() is None else _ask


def _ask(prompt: str) -> str:
    """Ask. This is done in a thread of its own, which Ctrl-C leaves where it is: with the echo off.

    The settings are looked after only meanwhile: at other times they may be those of another job.

    Raises:
        EOFError: There is no answer: the end of input was typed, or the run that needed it is over.
        OSError: The terminal is gone.
    """
    with _one_at_a_time, _alone() as users:
        restore = partial(_restore, _settings())
        atexit.register(restore)
        try:
            return _typed_unseen(prompt, users)
        finally:
            restore()
            atexit.unregister(restore)


def _typed_unseen(prompt: str, users: Sequence[GiveWay]) -> str:
    """Show the prompt, switch the echo off and take a line; the caller restores the settings."""
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
def used_by(give_way: GiveWay) -> Iterator[None]:
    """Let the terminal be used by a run, which gives way where a person is asked for a secret meanwhile.

    A question that is left when the run is over ends within ``LOOK_AGAIN_S``.

    Args:
        give_way: Called in the thread that asks: with ``True`` before it asks, and with ``False`` afterwards.
    """
    _users.append(give_way)
    try:
        yield
    finally:
        _users.remove(give_way)


@contextlib.contextmanager
def _alone() -> Iterator[Sequence[GiveWay]]:
    """Have the terminal to ourselves, away from those that use it."""
    users = tuple(_users)
    while users and not _is_ours():  # to read it now would stop the run
        time.sleep(LOOK_AGAIN_S)
    for give_way in users:
        give_way(True)
    try:
        yield users
    finally:
        for give_way in users:
            give_way(False)


def _is_ours() -> bool:
    """Whether the terminal belongs to our job (tcgetpgrp(3)); one that is gone shows when it is read."""
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
            if _is_ours() and termios.tcgetattr(descriptor) != settings:
                termios.tcsetattr(descriptor, termios.TCSADRAIN, settings)  # type: ignore[arg-type]  # as tcgetattr gave it
                os.write(descriptor, b"\n")  # away from the prompt that was not answered
        finally:
            os.close(descriptor)
