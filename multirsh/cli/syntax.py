"""What a command line looks like: its subcommands, its options by section, and values that may be missing.

The first word that is not an option decides which subcommand is meant: ``multirsh -f hosts.yaml push a /tmp``
is a push, and ``-f hosts.yaml`` is its option. Which words are values of options depends on the subcommand:
``-p 22`` is a port for ``run``, and ``-p``, which keeps modes in a ``push``, has no value there. So the words
are read as ``run`` reads them, and as each subcommand does whose name is among them. If these readings differ
in the first word, it is an error.

Two options have values that may be missing: ``--sudo[=USER]`` and ``--rerun WHICH [RUN]``. What follows WHICH
may be the first word of the command as well. It is the run if it is ``last`` (last(1) needs ``--`` before
it), or looks like a run's identifier, with the date in it, or is exactly the last part of a recorded run's
identifier.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import click

from multirsh.commands.sudo.options import ROOT
from multirsh.errors import UsageError, did_you_mean

DEFAULT: Final = "run"
"""The subcommand if none is named."""

SUBCOMMANDS: Final = {
    DEFAULT: ("multirsh.cli.run", "run"),
    "hosts": ("multirsh.cli.hosts", "hosts"),
    "lab": ("multirsh.cli.lab", "lab"),
    "script": ("multirsh.cli.run", "script"),
    "runs": ("multirsh.cli.runs", "runs"),
    "ports": ("multirsh.cli.ports", "ports"),
    "push": ("multirsh.cli.copying", "push"),
    "pull": ("multirsh.cli.copying", "pull"),
    "shell": ("multirsh.cli.shell.command", "shell"),
}
"""Name → module and attribute."""

HELP_NAMES: Final = ("-h", "--help")


OTHER = "Other"
"""The section of options that belong to no other."""


class SectionOption(click.Option):
    """An option with its section of ``--help``."""

    def __init__(self, *args: Any, section: str = OTHER, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.section = section


class Setting(SectionOption):
    """A setting without an option: an environment variable, and a key of config.toml."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, hidden=True, **settings)

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Add no option to the command line."""


class SectionCommand(click.Command):
    """A command whose ``--help`` shows options by section, in the order of each section's first option."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options."""
        write_options(self.get_params(ctx), ctx, formatter)


def write_options(
    parameters: Iterable[click.Parameter], ctx: click.Context, formatter: click.HelpFormatter
) -> None:
    """Write options by section, all explanations in one column."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for parameter in parameters:
        row = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
        if row is not None:
            section = parameter.section if isinstance(parameter, SectionOption) else OTHER
            sections.setdefault(section, []).append(row)
    width = max(len(names) for rows in sections.values() for names, _ in rows)
    for section, rows in sections.items():
        with formatter.section(section):
            formatter.write_dl([(names.ljust(width), text) for names, text in rows], col_max=width)


RERUN: Final = "--rerun"

KINDS: Final = ("failed", "unreachable", "notrun", "unknown", "ok")
"""The values of ``multirsh.journal.resuming.Standing``, without an import of the journal."""

_DATED: Final = re.compile(r"\d{8}(T\d{0,6}(-[0-9a-f]{0,6})?)?")
_SHORT: Final = re.compile(r"[0-9a-f]{6}")


@dataclass(frozen=True, slots=True)
class Rerun:
    """The hosts to run on again.

    Attributes:
        which: Which of the hosts, by how they ended.
        run: The run, as the user wrote it.
    """

    which: str
    run: str


def rerun(value: str | Rerun) -> Rerun:
    """Read ``WHICH`` or ``WHICH RUN``.

    Raises:
        click.BadParameter: No host ends in such a way.
    """
    if isinstance(value, Rerun):
        return value
    word, _, run = value.partition(" ")
    if word not in KINDS:
        hint = did_you_mean(word, KINDS) or f"it is one of {', '.join(KINDS)}"
        raise click.BadParameter(f"no hosts are {word!r}; {hint}")
    return Rerun(word, run or "last")


def is_run(word: str) -> bool:
    """Whether the word after ``WHICH`` is a run, not the first word of the command."""
    if word == "last" or _DATED.fullmatch(word):
        return True
    if not _SHORT.fullmatch(word):
        return False
    from multirsh.errors import UsageError  # noqa: PLC0415 - the journal is not needed for --help
    from multirsh.journal import Journal  # noqa: PLC0415

    try:
        return any(entry.run.endswith(f"-{word}") for entry in Journal().runs())
    except UsageError:
        return False


SUDO: Final = "--sudo"
"""Its value is attached with ``=``, or missing; it is never the next word."""


class RunCommand(SectionCommand):
    """A subcommand with options whose value may be missing."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Attach the values of such options."""
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
    """Whether ``--rerun`` has its first value; if not, click reports it."""
    return "=" in word or bool(rest)


Load: TypeAlias = Callable[[str], click.Command]
"""Returns the subcommand of a name; this may import it."""


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
    """Return the options, the last with its flag value attached if its value is missing."""
    *others, last = options or [""]
    option = _option(command, last)
    if option is not None and _may_lack_value(option):
        return [*others, f"{last}={option.flag_value}"]
    return list(options)


def _may_lack_value(option: click.Option) -> bool:
    return not option.is_flag and isinstance(option.flag_value, str)


def _place(args: Sequence[str], name: str, load: Load) -> int:
    """Return the index of the first word as a subcommand reads it; past the end if there is none."""

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
