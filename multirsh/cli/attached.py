"""Options whose value may be missing: ``--rerun WHICH [RUN]`` and ``--sudo[=USER]``, made plain for click."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import click

from multirsh.cli.rerun import RERUN, is_run
from multirsh.cli.sections import SectionCommand
from multirsh.commands.sudo.options import ROOT

SUDO: Final = "--sudo"
"""Its value is attached, or it has none: the next word is never it."""


class RunCommand(SectionCommand):
    """A subcommand that has such options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Attach what belongs to them."""
        return super().parse_args(ctx, with_values_attached(args, self))


def with_values_attached(args: Sequence[str], command: click.Command) -> list[str]:
    """Attach the values of these options.

    Options end where the command begins, so only what stands before it is looked at.

    Args:
        args: The command line.
        command: Whose options they are.

    Returns:
        The command line, in which each of these options has its value attached.
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
        name = asking_for_value(word, with_value.__contains__)
        if (name == RERUN or word.startswith(f"{RERUN}=")) and _says_which(word, rest):
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


def asking_for_value(word: str, takes_value: Callable[[str], bool]) -> str | None:
    """The option of ``word`` whose value is the next word; ``None`` if there is none.

    Args:
        word: Begins with a dash: ``--user``, ``--user=root``, ``-l``, ``-lroot``, ``-Nl``.
        takes_value: Whether an option, such as ``-l``, takes one.
    """
    if word.startswith("--"):
        return word if "=" not in word and takes_value(word) else None
    for place, letter in enumerate(word[1:], 1):
        if takes_value(f"-{letter}"):
            return f"-{letter}" if place == len(word) - 1 else None
    return None


def _says_which(word: str, rest: Sequence[str]) -> bool:
    """Whether ``--rerun`` has its first value; if it has not, click says what is missing."""
    return "=" in word or bool(rest)
