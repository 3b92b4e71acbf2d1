"""``-I [FILE]``: what the commands get as their standard input."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from multirsh.cli.descriptors import STDIN
from multirsh.cli.rerun import RERUN, is_run
from multirsh.commands.sudo.options import ROOT
from multirsh.errors import UsageError

if TYPE_CHECKING:
    from multirsh.engine.spool import Spool

NAMES: Final = ("-I", "--stdin")

SUDO: Final = "--sudo"
"""Its value is attached, or it has none: the next word is never it."""

OURS: Final = "-"
"""Our own standard input."""


def is_a_file_before_more(rest: Sequence[str]) -> bool:
    """Whether the first of ``rest`` is there as a file, and more words follow, which then are the command."""
    return len(rest) > 1 and (rest[0] == OURS or Path(rest[0]).is_file())


def with_its_file(
    args: Sequence[str],
    command: click.Command,
    *,
    is_its_file: Callable[[Sequence[str]], bool] = is_a_file_before_more,
) -> list[str]:
    """Settle whether the word after ``-I`` is its file or the command's first word; and ``--rerun``'s run.

    A name attached (``-IFILE``, ``--stdin=FILE``) always is the file. Options end where the command begins,
    so only what stands before it is looked at.

    Args:
        args: The command line.
        command: Whose options they are.
        is_its_file: Says so of the first of the words after ``-I``; there is one at least.

    Returns:
        The command line, in which the option always has its value attached.
    """
    with_value = {
        name
        for param in command.params
        if isinstance(param, click.Option) and not param.is_flag and not param.count
        for name in param.opts
    }
    settled: list[str] = []
    rest = list(args)
    while rest and rest[0].startswith("-") and rest[0] not in {"-", "--"}:
        word = rest.pop(0)
        before, name = _asking_for_value(word, with_value)
        if name in NAMES:
            is_file = bool(rest) and is_its_file(rest)
            settled += [*before, f"{NAMES[-1]}={rest.pop(0) if is_file else OURS}"]
        elif (name == RERUN or word.startswith(f"{RERUN}=")) and _says_which(word, rest):
            which = word.partition("=")[2] or rest.pop(0)
            run = f" {rest.pop(0)}" if rest and is_run(rest[0]) else ""
            settled.append(f"{RERUN}={which}{run}")
        elif name == SUDO:
            settled.append(f"{SUDO}={ROOT}")
        else:
            settled.append(word)
            if name is not None and rest:
                settled.append(rest.pop(0))
    return [*settled, *rest]


def _says_which(word: str, rest: Sequence[str]) -> bool:
    """Whether ``--rerun`` has its first value; if it has not, click says what is missing."""
    return "=" in word or bool(rest)


def _asking_for_value(word: str, with_value: Collection[str]) -> tuple[list[str], str | None]:
    """The option of ``word`` whose value is the next word, if there is one, and what stands before it."""
    if word.startswith("--"):
        return [], word if word in with_value else None
    for place, letter in enumerate(word[1:], 1):
        if f"-{letter}" in with_value:
            is_last = place == len(word) - 1
            return [word[:place]] if place > 1 else [], f"-{letter}" if is_last else None
    return [], None


def open_stdin(name: str | None, *, read_by_others: Sequence[str]) -> Spool | None:
    """Open what ``-I`` names.

    Args:
        name: The file, or ``-`` for our standard input; ``None`` for no input at all.
        read_by_others: Options that read our standard input themselves.

    Raises:
        UsageError: It cannot be read, or others have read it.
    """
    if name is None:
        return None
    from multirsh.engine.spool import Spool  # noqa: PLC0415 - not needed for --help, which must be quick

    if name != OURS:
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise UsageError(f"-I {name}: {error.strerror}", hint="give a file that can be read") from None
        if Path(name).is_dir():
            os.close(descriptor)
            raise UsageError(f"-I {name}: it is a folder", hint="give a file that can be read")
        return Spool(descriptor)
    if read_by_others:
        raise UsageError(
            f"standard input is read by {read_by_others[0]} and cannot be sent to the hosts, too",
            hint="name a file for one of them",
        )
    if os.isatty(STDIN):
        # In the background it would stop us, and with us all that runs; so reading fails, and is tried again.
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)
    return Spool(STDIN)
