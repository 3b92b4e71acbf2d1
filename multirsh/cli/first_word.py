"""Which word of a command line is the first that is not an option: it decides which subcommand is meant.

``multirsh -f hosts.yaml push a /tmp`` is a push, and ``-f hosts.yaml`` its option. Which words are values of
options depends on the subcommand: ``-p 22`` is a port for ``run``, and ``-p``, which keeps modes in a
``push``, has no value there. So the words are read as ``run`` reads them, and as each subcommand does whose
name is among them. Where these readings differ on what the first word is, it is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import click

from multirsh.cli.attached import SUDO, asking_for_value
from multirsh.cli.names import DEFAULT, HELP_NAMES, SUBCOMMANDS
from multirsh.cli.rerun import RERUN, is_run
from multirsh.errors import UsageError

Load: TypeAlias = Callable[[str], click.Command]
"""Gives the subcommand of a name; this may import it."""


def with_subcommand_first(args: Sequence[str], load: Load) -> list[str]:
    """Put the subcommand's name first.

    Args:
        args: The command line, without the program.
        load: Gives a subcommand.

    Returns:
        The same words; the default subcommand's name is added where none is named.

    Raises:
        UsageError: What is the first word depends on the subcommand.
    """
    place = _place(args, DEFAULT, load)
    found = args[place] if place < len(args) else None
    candidates = [name for name in SUBCOMMANDS if name != DEFAULT and name in args]
    for name in candidates:
        own = _place(args, name, load)
        is_own = own < len(args) and args[own] == name
        if is_own != (found == name) or (is_own and own != place):
            raise UsageError(
                f"it is not clear whether {name} is the subcommand: an option before it takes a value for"
                f" {name} and none for a remote command, or the other way round",
                hint=f"write multirsh {name} and then its options, or multirsh run and then those",
            )
    if found is None or found not in SUBCOMMANDS:
        return [DEFAULT, *args]
    return [found, *_settled(args[:place], load(found)), *args[place + 1 :]]


def _settled(options: Sequence[str], command: click.Command) -> list[str]:
    """The options as they stand before words: a value that the last of them may have is not among those."""
    *others, last = options or [""]
    option = _option(command, last)
    if option is not None and _may_lack_value(option):
        return [*others, f"{last}={option.flag_value}"]
    return list(options)


def _may_lack_value(option: click.Option) -> bool:
    return not option.is_flag and isinstance(option.flag_value, str)


def _place(args: Sequence[str], name: str, load: Load) -> int:
    """The place of the first word as a subcommand reads it; past the end where there is none, or ``--``."""

    def takes_value(word: str) -> bool:
        if word in HELP_NAMES or word == SUDO:
            return False
        known = (_option(load(each), word) for each in (name, DEFAULT, *SUBCOMMANDS))
        option = next((option for option in known if option is not None), None)
        return option is not None and not (option.is_flag or option.count or is_left_out(option))

    def is_left_out(option: click.Option) -> bool:
        return _may_lack_value(option) and place + 1 < len(args) and args[place + 1] in SUBCOMMANDS

    place = 0
    while place < len(args) and args[place].startswith("-") and args[place] not in {"-", "--"}:
        word = args[place]
        place += 1 if asking_for_value(word, takes_value) is None else 2
        if word.partition("=")[0] == RERUN and place < len(args) and is_run(args[place]):
            place += 1
    return len(args) if place < len(args) and args[place] == "--" else place


def _option(command: click.Command, name: str) -> click.Option | None:
    return next(
        (param for param in command.params if isinstance(param, click.Option) and name in param.opts), None
    )
