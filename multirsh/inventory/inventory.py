"""The hosts and groups there are, and which of them ``-w``, ``-x``, ``-g``, ``-a`` and ``--pick`` select.

With a hosts file, every name must be in it: a mistyped host or group is an
error, not a smaller run. Without one, the names of ``-w`` are the hosts. An
excluded name has to exist as well, or a mistyped exclusion would let its host
run (``--missing-ok`` allows it); a glob or a group may exclude nothing. To
select no host at all is an error, too.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO, Final, Self

from multirsh.arguments import check_argument, check_call
from multirsh.errors import UsageError, did_you_mean
from multirsh.inventory.draft import NO_GROUPS, Group, GroupGraph, resolve
from multirsh.inventory.files import read_files
from multirsh.inventory.fold import fold
from multirsh.inventory.nodeset import Operand, OperandKind, evaluate, glob_matcher, parse, parse_group_list
from multirsh.inventory.ranges import check_count
from multirsh.model import NO_SETTINGS, Host, Settings

SHOWN: Final = 20
"""Names folded or listed in one error, at the most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selectors:
    """What the options say, as given.

    Attributes:
        nodes: Values of ``-w``; each is an expression, and together they add up.
        exclude: Values of ``-x``.
        groups: Values of ``-g``.
        everything: ``-a``.
        pick: ``--pick``, or ``None``.
        missing_ok: ``--missing-ok``.
    """

    nodes: Sequence[str] = ()
    exclude: Sequence[str] = ()
    groups: Sequence[str] = ()
    everything: bool = False
    pick: int | None = None
    missing_ok: bool = False


@dataclass(frozen=True, slots=True)
class Candidates:
    """What names can mean: the hosts and groups there are.

    Attributes:
        hosts: By name, in the inventory's order.
        graph: The groups.
        whence: Where the hosts are listed, for errors: the files, or ``-w``.
        is_listed: Whether there is a hosts file.
        unlisted: What may be done about a host that is not among them.
        missing_ok: Whether names that are excluded need not be among them.
    """

    hosts: Mapping[str, Host]
    graph: GroupGraph
    whence: str
    is_listed: bool
    unlisted: str = "to reach a host that is not listed, drop -f"
    missing_ok: bool = False

    def names_of(self, operand: Operand, *, is_excluded: bool = False) -> Iterable[str]:
        """The hosts an operand stands for, some maybe more than once.

        Args:
            operand: From an expression.
            is_excluded: Whether its hosts are to be left out, so that there may be none.

        Raises:
            NodeSetError: A host or a group is not known, or a glob matches nothing.
        """
        match operand.kind:
            case OperandKind.NAMES:
                return self._listed(operand, is_excluded=is_excluded)
            case OperandKind.GLOBS:
                nothing = None if is_excluded else f"no host of {self.whence}"
                return _matching(operand, self.hosts, nothing)
            case OperandKind.GROUPS:
                groups = self._groups(operand, is_excluded=is_excluded)
                return (name for group in groups for name in self.graph.hosts_of(group))

    def _listed(self, operand: Operand, *, is_excluded: bool) -> Iterable[str]:
        names = list(operand.words.names())
        unknown = [name for name in names if name not in self.hosts]
        if unknown and not (is_excluded and self.missing_ok):
            shown = fold(unknown[:SHOWN]) + (f" and {len(unknown) - SHOWN:,} more" if unknown[SHOWN:] else "")
            raise operand.text.error(
                f"{shown} {'is' if len(unknown) == 1 else 'are'} not in {self.whence}",
                hint=self._way_out(unknown, is_excluded=is_excluded),
            )
        return names

    def _way_out(self, unknown: list[str], *, is_excluded: bool) -> str | None:
        name = unknown[0]
        if name in self.graph.groups:
            return f"@{name} is a group"
        meant = did_you_mean(name, self.hosts) if len(unknown) == 1 else None
        if is_excluded:
            passing = "--missing-ok passes over names that are not there"
            return passing if meant is None else f"{meant} {passing}"
        return self.unlisted if meant is None and self.is_listed else meant

    def _groups(self, operand: Operand, *, is_excluded: bool) -> Iterable[str]:
        if operand.words.is_glob:
            nothing = None if is_excluded else f"no group of {self.whence}"
            return _matching(operand, self.graph.groups, nothing)
        names = list(operand.words.names())
        for name in names:
            if name not in self.graph.groups:
                raise operand.text.error(
                    f"there is no group {name} in {self.whence}",
                    hint=did_you_mean(name, self.graph.groups) or self._groups_there_are(),
                )
        return names

    def _groups_there_are(self) -> str:
        names = list(self.graph.groups)
        listed = ", ".join(names[:SHOWN]) + (", ..." if names[SHOWN:] else "")
        if not self.is_listed:
            return "a group needs a hosts file: name one with -f"
        return f"its groups are {listed}" if names else "it has no groups"


def select_listed(
    wish: Selectors, known: Candidates, *, rng: random.Random | None = None
) -> tuple[Host, ...]:
    """Select from a hosts file; without ``-w`` and ``-g``, all its hosts.

    Args:
        wish: The options.
        known: The file's hosts and groups.
        rng: Source of chance for ``--pick``; the system's by default.

    Returns:
        At least one host, in the file's order.

    Raises:
        NodeSetError: An expression cannot be read, or names what is not in the file.
        UsageError: Nothing is selected, or ``--pick`` is below 1.
    """
    logins = _Logins()
    chosen: dict[str, None] = {}
    if wish.everything or not (wish.nodes or wish.groups):
        chosen.update(dict.fromkeys(known.hosts))
    for text in wish.groups:
        for operand in parse_group_list(text):
            chosen.update(dict.fromkeys(known.names_of(operand)))

    def names_of(operand: Operand) -> Iterable[str]:
        return known.names_of(operand, is_excluded=operand.is_excluded)

    for text in wish.nodes:
        chosen.update(evaluate(parse(text), lambda operand: logins.noting(operand, names_of(operand))))
    if not chosen:
        raise UsageError("no host is selected", hint="the groups or the expression hold none")
    left = _without(chosen, wish.exclude, known)
    hosts = [logins.applied(host) for name, host in known.hosts.items() if name in left]
    return _picked(hosts, wish.pick, rng)


def select_unlisted(wish: Selectors, *, rng: random.Random | None = None) -> tuple[Host, ...]:
    """Make hosts of the names in ``-w``, where there is no hosts file.

    Args:
        wish: The options.
        rng: Source of chance for ``--pick``; the system's by default.

    Returns:
        At least one host, in the order of mention.

    Raises:
        NodeSetError: An expression cannot be read, or holds a glob or a group.
        UsageError: No host is named or left, ``-g`` or ``-a`` is given, or ``--pick`` is below 1.
    """
    for given, option in ((wish.groups, "-g"), (wish.everything, "-a")):
        if given:
            raise UsageError(f"{option} needs a hosts file", hint="name one with -f")
    if not wish.nodes:
        raise UsageError("no hosts are named", hint="give a hosts file with -f or names with -w")
    logins = _Logins()
    chosen: dict[str, None] = {}
    mentioned: dict[str, Host] = {}
    known = Candidates(mentioned, NO_GROUPS, "-w", is_listed=False, missing_ok=wish.missing_ok)

    def names_of(operand: Operand) -> Iterable[str]:
        if operand.is_excluded and operand.kind is OperandKind.NAMES:
            return known.names_of(operand, is_excluded=True)
        names = list(_as_written(operand))
        mentioned.update((name, Host(name)) for name in names)
        return names

    for text in wish.nodes:
        chosen.update(evaluate(parse(text), lambda operand: logins.noting(operand, names_of(operand))))
    if not chosen:
        raise UsageError("no host is selected", hint="the expression of -w holds none")
    hosts = {name: logins.applied(mentioned[name]) for name in chosen}
    left = _without(chosen, wish.exclude, known)
    return _picked([hosts[name] for name in left], wish.pick, rng)


@dataclass(frozen=True, slots=True)
class _Logins:
    """What ``user@`` and ``:port`` in ``-w`` say about hosts."""

    given: dict[str, Settings] = field(default_factory=dict)
    merged: dict[tuple[Settings, Settings], Settings] = field(default_factory=dict)

    def noting(self, operand: Operand, names: Iterable[str]) -> Iterable[str]:
        """Pass an operand's names on, and note the login that was given with them."""
        if operand.user is None and operand.port is None:
            return names
        names = list(names)
        login = Settings(user=operand.user, port=operand.port)
        for name in names:
            earlier = self.given.get(name, NO_SETTINGS)
            if earlier.or_else(login) != login.or_else(earlier):
                raise operand.text.error(f"{name} was given another user or port before")
            self.given[name] = self._over(login, earlier)
        return names

    def applied(self, host: Host) -> Host:
        """The host with what was noted for it in place of its own settings."""
        login = self.given.get(host.name)
        return host if login is None else replace(host, settings=self._over(login, host.settings))

    def _over(self, nearer: Settings, farther: Settings) -> Settings:
        """Merge, giving equal pairs the same object."""
        pair = (nearer, farther)
        if pair not in self.merged:
            self.merged[pair] = nearer.or_else(farther)
        return self.merged[pair]


def _as_written(operand: Operand) -> Iterable[str]:
    match operand.kind:
        case OperandKind.NAMES:
            return operand.words.names()
        case OperandKind.GLOBS:
            raise operand.text.error("a wildcard needs a hosts file", hint="name one with -f")
        case OperandKind.GROUPS:
            raise operand.text.error("a group needs a hosts file", hint="name one with -f")


def _matching(operand: Operand, names: Iterable[str], nothing: str | None) -> list[str]:
    """The names that fit.

    Args:
        operand: Globs.
        names: To choose from.
        nothing: What the error says where none fits; ``None`` if none need fit.
    """
    found: list[str] = []
    for glob in operand.words.names():
        matches = glob_matcher(glob)
        matched = [name for name in names if matches(name)]
        if not matched and nothing is not None:
            raise operand.text.error(f"{nothing} matches {glob}")
        found.extend(matched)
        check_count(len(found), operand.text)
    return found


def _without(chosen: Mapping[str, None], exclude: Sequence[str], known: Candidates) -> Mapping[str, None]:
    def names_of(operand: Operand) -> Iterable[str]:
        if operand.user is not None or operand.port is not None:
            raise operand.text.error("a user or a port has no meaning in -x")
        return known.names_of(operand, is_excluded=True)

    excluded: dict[str, None] = {}
    for text in exclude:
        excluded.update(evaluate(parse(text, source="-x"), names_of))
    left = {name: None for name in chosen if name not in excluded}
    if not left:
        raise UsageError("no host is selected", hint="-x excludes all that were")
    return left


def _picked(hosts: list[Host], pick: int | None, rng: random.Random | None) -> tuple[Host, ...]:
    """So many of the hosts at random, in the order they had."""
    if pick is None:
        return tuple(hosts)
    if pick < 1:
        raise UsageError(f"--pick {pick} picks no host", hint="give 1 or more")
    if pick >= len(hosts):
        return tuple(hosts)
    chance = random.SystemRandom() if rng is None else rng
    return tuple(hosts[index] for index in sorted(chance.sample(range(len(hosts)), pick)))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Inventory:
    """What the hosts files say; without any, names in ``-w`` are hosts as they are.

    Attributes:
        by_name: The hosts by name, in the order of the files. Equal settings are one object.
        graph: The groups and who is in them.
        sources: The files it was read from, in order; empty for no file.
    """

    by_name: Mapping[str, Host] = field(default_factory=dict)
    graph: GroupGraph = NO_GROUPS
    sources: tuple[str, ...] = ()

    @classmethod
    def load(cls, *paths: str | os.PathLike[str], stdin: BinaryIO | None = None) -> Self:
        """Read hosts files into one inventory.

        Args:
            paths: YAML files or plain lists, in order; ``-`` is ``stdin``. None gives an inventory
                whose ``select`` takes the names it is given as they are.
            stdin: What ``-`` reads, to its end.

        Returns:
            The inventory.

        Raises:
            InventoryError: A file cannot be read, or what it says cannot be meant.
            UsageError: ``-`` is given twice, or without ``stdin``.
        """
        for path in paths:
            check_argument("paths", path, str | os.PathLike[str])
        if not paths:
            return cls()
        with _collector_paused():
            draft = read_files(*paths, stdin=stdin)
            by_name, graph = resolve(draft)
        return cls(by_name=by_name, graph=graph, sources=tuple(draft.sources))

    def __repr__(self) -> str:
        files = ", ".join(self.sources) or "no file"
        return f"<Inventory of {len(self.by_name)} hosts and {len(self.groups)} groups from {files}>"

    @property
    def hosts(self) -> tuple[Host, ...]:
        """All hosts, in the order of the files."""
        return tuple(self.by_name.values())

    @property
    def groups(self) -> Mapping[str, Group]:
        """The groups as written, by name, in the order of the files."""
        return self.graph.groups

    def groups_of(self, host: str) -> tuple[str, ...]:
        """All groups a host is in, nearest first; none for a host that is not listed."""
        return self.graph.groups_of(host)

    def members(self, group: str) -> tuple[Host, ...]:
        """The hosts of a group and of the groups inside it, each once, in the order of the files.

        Raises:
            KeyError: There is no such group.
        """
        names = set(self.graph.hosts_of(group))
        return tuple(host for name, host in self.by_name.items() if name in names)

    def select(
        self,
        nodes: str | Sequence[str] = (),
        *,
        exclude: str | Sequence[str] = (),
        groups: str | Sequence[str] = (),
        everything: bool = False,
        pick: int | None = None,
        missing_ok: bool = False,
        rng: random.Random | None = None,
    ) -> tuple[Host, ...]:
        """Select hosts as the command line's options do.

        Args:
            nodes: What ``-w`` takes, such as ``"web[01-12]!web03"``; several add up.
            exclude: What ``-x`` takes, one or several.
            groups: What ``-g`` takes, one or several.
            everything: ``-a``. With a file it is also what no ``nodes`` and no ``groups`` means.
            pick: Of those, so many at random.
            missing_ok: Whether names that are excluded need not be there.
            rng: Source of chance for ``pick``; the system's by default.

        Returns:
            At least one host: in the order of the files or, without a file, of mention.

        Raises:
            NodeSetError: An expression cannot be read, or names what is not there.
            UsageError: The options cannot be meant so, or nothing is selected.
        """
        check_call(Inventory.select, locals())
        wish = Selectors(
            nodes=_several(nodes),
            exclude=_several(exclude),
            groups=_several(groups),
            everything=everything,
            pick=pick,
            missing_ok=missing_ok,
        )
        if not self.sources:
            return select_unlisted(wish, rng=rng)
        known = Candidates(
            self.by_name, self.graph, " ".join(self.sources), is_listed=True, missing_ok=missing_ok
        )
        return select_listed(wish, known, rng=rng)


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep the garbage collector from looking through what is being read again and again.

    A large file makes a million objects and no cycle among them; looking takes more time than reading.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _several(texts: str | Sequence[str]) -> Sequence[str]:
    """One text as a sequence of it: a string is a sequence too, but of letters."""
    return (texts,) if isinstance(texts, str) else texts
