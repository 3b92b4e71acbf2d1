"""A file's lines, grouped under their conditions: ``Host``, ``Match`` and included files. Pure."""

from __future__ import annotations

import enum
import heapq
import ipaddress
import pwd
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from multirsh.transports.ssh.config.directives import (
    EXEC_TOKENS,
    MISSED,
    Directive,
    Place,
    Template,
    check_keyword,
    ignored_keywords,
    split_criteria,
    values_of,
)
from multirsh.transports.ssh.patterns import PatternList


def numeric_address(host: str) -> str | None:
    """Format an address as the system does, such as ``127.0.0.1`` for ``127.1``; ``None`` if it is a name."""
    if ":" in host:
        bare, percent, scope = host.partition("%")
        try:
            return f"{ipaddress.IPv6Address(bare)}{percent}{scope}"
        except ValueError:
            return None
    if not host[:1].isdigit():
        return None
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None


def tilde_home(user: str, place: Place) -> str:
    """Find a user's home directory, for ``~user``.

    Raises:
        UsageError: There is no such user.
    """
    try:
        return pwd.getpwnam(user).pw_dir
    except (KeyError, UnicodeError, ValueError):
        raise place.error(f"there is no user {user!r}") from None


def expand_tilde(path: str, place: Place, home: str) -> str:
    """Expand ``~`` and ``~user`` at the start of a path."""
    if not path.startswith("~"):
        return path
    user, _, rest = path[1:].partition("/")
    directory = tilde_home(user, place) if user else home
    # The directory is not a template: a % in it is literal.
    return f"{directory.rstrip('/').replace('%', '%%')}/{rest.lstrip('/')}"


class Criterion(enum.Enum):
    """The criteria of a ``Match`` line."""

    ALL = "all"
    CANONICAL = "canonical"
    EXEC = "exec"
    FINAL = "final"
    HOST = "host"
    LOCALUSER = "localuser"
    ORIGINALHOST = "originalhost"
    TAGGED = "tagged"
    USER = "user"


_BARE: Final = frozenset({Criterion.ALL, Criterion.CANONICAL, Criterion.FINAL})
_NOT_SUPPORTED: Final = frozenset({"command", "localnetwork", "sessiontype", "version"})


@dataclass(frozen=True, slots=True)
class Test:
    """One criterion of a ``Match`` line.

    Attributes:
        criterion: What is tested.
        negated: Whether it is preceded by ``!``.
        patterns: The patterns, for criteria that compare text.
        command: The command of ``exec``.
    """

    criterion: Criterion
    negated: bool
    patterns: PatternList | None = None
    command: Template | None = None


Condition: TypeAlias = PatternList | tuple[Test, ...] | None
"""``Host`` patterns, the tests of a ``Match``, or none: a file's first lines apply wherever the file does."""


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """A sequence of lines that always apply together."""

    values: tuple[tuple[str, Any], ...]
    steers: bool


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The lines under one condition; ``inside`` holds stretches of lines and the blocks of included files."""

    condition: Condition
    inside: Blocks


class Blocks:
    """The stretches and blocks of a file, in order.

    A host is tested only against those that may apply to it: some files have a ``Host`` line for each of
    thousands of hosts, and every host would otherwise be tested against them all.
    """

    __slots__ = ("_anybodys", "_in_order", "_of_name")

    def __init__(self, in_order: Iterable[Stretch | Block]) -> None:
        self._in_order = tuple(in_order)
        self._anybodys: list[int] = []
        self._of_name: dict[str, list[int]] = {}
        for place, part in enumerate(self._in_order):
            condition = part.condition if isinstance(part, Block) else None
            names = condition.literals if isinstance(condition, PatternList) else None
            if names is None:
                self._anybodys.append(place)
            else:
                for name in names:
                    self._of_name.setdefault(name, []).append(place)

    def __iter__(self) -> Iterator[Stretch | Block]:
        """Iterate over all stretches and blocks."""
        return iter(self._in_order)

    def that_may_be_of(self, host: str) -> Iterator[Stretch | Block]:
        """Iterate, in order, over those whose condition ``host`` may meet; it meets none of the others."""
        for place in heapq.merge(self._anybodys, self._of_name.get(host, ())):
            yield self._in_order[place]


STEERING: Final = frozenset({"hostname", "user", "port", "hostkeyalias", "proxycommand", "proxyjump", "tag"})
"""Values that a later ``Match`` can test."""

Includer: TypeAlias = Callable[[Directive], Iterable[Block]]
"""Returns the blocks of the files that an ``Include`` line names, in order."""


def _read_criterion(name: str, place: Place) -> Criterion:
    if name in _NOT_SUPPORTED:
        raise place.error(f"Match {name} is not supported")
    try:
        return Criterion(name)
    except ValueError:
        raise place.error(f"Match has no criterion {name!r}") from None


def _read_test(criterion: Criterion, words: Iterator[str], place: Place, *, negated: bool) -> Test:
    """Parse one criterion; its argument, if it takes one, is the next word."""
    if criterion in _BARE:
        return Test(criterion, negated)
    argument = next(words, "")
    if (not argument and criterion is not Criterion.TAGGED) or argument.startswith("#"):
        raise place.error(f"Match {criterion.value} needs an argument")
    if criterion is Criterion.EXEC:
        return Test(criterion, negated, command=Template(argument, place, EXEC_TOKENS, variables=False))
    fold = criterion in {Criterion.HOST, Criterion.ORIGINALHOST}
    return Test(criterion, negated, patterns=PatternList.split(argument, fold_case=fold))


def _read_match(directive: Directive) -> tuple[Test, ...]:
    """Parse the criteria of a ``Match`` line.

    Source: match_cfg_line() of OpenSSH 9.2 readconf.c.
    """
    words = split_criteria(directive.rest)
    tests: list[Test] = []
    while (word := next(words, "")) and not word.startswith("#"):
        criterion = _read_criterion(word.removeprefix("!").lower(), directive.place)
        if criterion is Criterion.ALL:
            tests.append(Test(criterion, word.startswith("!")))
            word = next(words, "")
            if len(tests) > 2 or (word and not word.startswith("#")):  # noqa: PLR2004 - one may stand before it
                raise directive.place.error("Match all stands alone")
            break
        tests.append(_read_test(criterion, words, directive.place, negated=word.startswith("!")))
    if not tests:
        raise directive.place.error("Match needs a criterion")
    if not word and any(words):
        raise directive.place.error('Match ends at ""')
    return tuple(tests)


def _read_host(directive: Directive) -> PatternList:
    """Parse the patterns of a ``Host`` line; if only a comment follows, it matches no host."""
    if "" in directive.words:
        raise directive.place.error("host has an empty argument")
    return PatternList(directive.words)


class _BlockBuilder:
    """Builds a block line by line."""

    __slots__ = ("_condition", "_inside", "_values")

    def __init__(self, condition: Condition) -> None:
        self._condition = condition
        self._inside: list[Stretch | Block] = []
        self._values: list[tuple[str, Any]] = []

    def add(self, values: Iterable[tuple[str, Any]]) -> None:
        self._values.extend(values)

    def include(self, blocks: Iterable[Block]) -> None:
        self._end_stretch()
        self._inside.extend(blocks)

    def build(self) -> Block:
        self._end_stretch()
        return Block(self._condition, Blocks(self._inside))

    def _end_stretch(self) -> None:
        if self._values:
            steers = any(name in STEERING for name, _ in self._values)
            self._inside.append(Stretch(tuple(self._values), steers))
            self._values.clear()


def parse_blocks(
    lines: Iterable[Directive],
    *,
    include: Includer,
    warn: Callable[[str], None],
    ignored: list[str],
) -> Iterator[Block]:
    """Group a file's lines under their conditions.

    Args:
        lines: The file's lines.
        include: Called for each ``Include``.
        warn: Called with one line of text for each unsupported keyword that matters to ssh.
        ignored: The patterns of ``IgnoreUnknown`` so far; extended in place.

    Yields:
        Blocks in the file's order.

    Raises:
        UsageError: A line is invalid; the message names its place.
    """
    block = _BlockBuilder(None)
    for directive in lines:
        keyword = directive.keyword
        if keyword in {"host", "match"}:
            yield block.build()
            block = _BlockBuilder(_read_host(directive) if keyword == "host" else _read_match(directive))
        elif keyword == "include":
            if "" in directive.words:
                raise directive.place.error("include has an empty argument")
            block.include(include(directive))
        elif keyword == "ignoreunknown":
            ignored.extend(ignored_keywords(directive))
        elif check_keyword(directive, PatternList(ignored)):
            block.add(values_of(directive))
        elif keyword in MISSED:
            warn(f"{directive.place}: {keyword} is not supported and is passed over")
    yield block.build()


def asks_for_second_pass(blocks: Iterable[Stretch | Block]) -> bool:
    """Whether a block has ``Match final``: all blocks are then evaluated again with the first result."""
    for block in blocks:
        if isinstance(block, Block):
            tests = block.condition if isinstance(block.condition, tuple) else ()
            if any(test.criterion is Criterion.FINAL for test in tests) or asks_for_second_pass(block.inside):
                return True
    return False
