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
"""Names that one error shows at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selectors:
    """The options that select hosts, as given.

    Attributes:
        nodes: The values of ``-w``; each is an expression, and their hosts add up.
        exclude: The values of ``-x``.
        groups: The values of ``-g``.
        all_hosts: ``-a``.
        pick: ``--pick``, or ``None``.
        missing_ok: ``--missing-ok``.
    """

    nodes: Sequence[str] = ()
    exclude: Sequence[str] = ()
    groups: Sequence[str] = ()
    all_hosts: bool = False
    pick: int | None = None
    missing_ok: bool = False


@dataclass(frozen=True, slots=True)
class Candidates:
    """The hosts and groups that can be selected.

    Attributes:
        hosts: The hosts by name, in order.
        graph: The groups.
        origin: Where the hosts are listed, for errors: the files, or ``-w``.
        is_listed: Whether there is a hosts file.
        unlisted_hint: A hint for a host that is not listed.
        missing_ok: Whether excluded names need not be listed.
    """

    hosts: Mapping[str, Host]
    graph: GroupGraph
    origin: str
    is_listed: bool
    unlisted_hint: str = "to reach a host that is not listed, drop -f"
    missing_ok: bool = False

    def names_of(self, operand: Operand, *, is_excluded: bool = False) -> Iterable[str]:
        """Return the names of an operand's hosts, with repetitions.

        Args:
            operand: The operand.
            is_excluded: Whether its hosts are excluded, so that a glob may match none.

        Raises:
            NodeSetError: A host or a group is unknown, or a glob matches nothing.
        """
        match operand.kind:
            case OperandKind.NAMES:
                return self._listed(operand, is_excluded=is_excluded)
            case OperandKind.GLOBS:
                nothing = None if is_excluded else f"no host of {self.origin}"
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
                f"{shown} {'is' if len(unknown) == 1 else 'are'} not in {self.origin}",
                hint=self._way_out(unknown, is_excluded=is_excluded),
            )
        return names

    def _way_out(self, unknown: list[str], *, is_excluded: bool) -> str | None:
        name = unknown[0]
        if name in self.graph.groups:
            return f"@{name} is a group"
        meant = did_you_mean(name, self.hosts) if len(unknown) == 1 else None
        if is_excluded:
            passing = "--missing-ok ignores excluded names that do not exist"
            return passing if meant is None else f"{meant} {passing}"
        return self.unlisted_hint if meant is None and self.is_listed else meant

    def _groups(self, operand: Operand, *, is_excluded: bool) -> Iterable[str]:
        if operand.words.is_glob:
            nothing = None if is_excluded else f"no group of {self.origin}"
            return _matching(operand, self.graph.groups, nothing)
        names = list(operand.words.names())
        for name in names:
            if name not in self.graph.groups:
                raise operand.text.error(
                    f"there is no group {name} in {self.origin}",
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
    selectors: Selectors, candidates: Candidates, *, rng: random.Random | None = None
) -> tuple[Host, ...]:
    """Select listed hosts; without ``-w`` and ``-g``, all of them.

    Args:
        selectors: The options.
        candidates: The hosts and groups of the hosts files.
        rng: The random numbers for ``--pick``; those of the system by default.

    Returns:
        At least one host, in the order of the candidates.

    Raises:
        NodeSetError: An expression is not valid, or names an unknown host or group.
        UsageError: No host is selected, or ``--pick`` is below 1.
    """
    logins = _Logins()
    chosen: dict[str, None] = {}
    if selectors.all_hosts or not (selectors.nodes or selectors.groups):
        chosen.update(dict.fromkeys(candidates.hosts))
    for text in selectors.groups:
        for operand in parse_group_list(text):
            chosen.update(dict.fromkeys(candidates.names_of(operand)))

    def names_of(operand: Operand) -> Iterable[str]:
        return candidates.names_of(operand, is_excluded=operand.is_excluded)

    for text in selectors.nodes:
        chosen.update(evaluate(parse(text), lambda operand: logins.recorded(operand, names_of(operand))))
    if not chosen:
        raise UsageError("no host is selected", hint="the groups or the expression hold none")
    left = _without(chosen, selectors.exclude, candidates)
    hosts = [logins.applied(host) for name, host in candidates.hosts.items() if name in left]
    return _picked(hosts, selectors.pick, rng)


def select_unlisted(selectors: Selectors, *, rng: random.Random | None = None) -> tuple[Host, ...]:
    """Make hosts of the names in ``-w``, without a hosts file.

    Args:
        selectors: The options.
        rng: The random numbers for ``--pick``; those of the system by default.

    Returns:
        At least one host, in the order of mention.

    Raises:
        NodeSetError: An expression is not valid, or holds a glob or a group.
        UsageError: No host is named or left, ``-g`` or ``-a`` is given, or ``--pick`` is below 1.
    """
    for given, option in ((selectors.groups, "-g"), (selectors.all_hosts, "-a")):
        if given:
            raise UsageError(f"{option} needs a hosts file", hint="name one with -f")
    if not selectors.nodes:
        raise UsageError("no hosts are named", hint="give a hosts file with -f or names with -w")
    logins = _Logins()
    chosen: dict[str, None] = {}
    mentioned: dict[str, Host] = {}
    candidates = Candidates(mentioned, NO_GROUPS, "-w", is_listed=False, missing_ok=selectors.missing_ok)

    def names_of(operand: Operand) -> Iterable[str]:
        if operand.is_excluded and operand.kind is OperandKind.NAMES:
            return candidates.names_of(operand, is_excluded=True)
        names = list(_as_written(operand))
        mentioned.update((name, Host(name)) for name in names)
        return names

    for text in selectors.nodes:
        chosen.update(evaluate(parse(text), lambda operand: logins.recorded(operand, names_of(operand))))
    if not chosen:
        raise UsageError("no host is selected", hint="the expression of -w holds none")
    hosts = {name: logins.applied(mentioned[name]) for name in chosen}
    left = _without(chosen, selectors.exclude, candidates)
    return _picked([hosts[name] for name in left], selectors.pick, rng)


@dataclass(frozen=True, slots=True)
class _Logins:
    """The logins of hosts that ``user@`` and ``:port`` in ``-w`` give."""

    given: dict[str, Settings] = field(default_factory=dict)
    merged: dict[tuple[Settings, Settings], Settings] = field(default_factory=dict)

    def recorded(self, operand: Operand, names: Iterable[str]) -> Iterable[str]:
        """Record the login that an operand gives to its hosts, and return their names."""
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
        """Return the host with its recorded login in place of its own."""
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
    """Return the names that match the globs of an operand.

    Args:
        operand: The operand.
        names: The names to choose from.
        nothing: The start of the error if a glob matches nothing; ``None`` if it may.
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


def _without(
    chosen: Mapping[str, None], exclude: Sequence[str], candidates: Candidates
) -> Mapping[str, None]:
    def names_of(operand: Operand) -> Iterable[str]:
        if operand.user is not None or operand.port is not None:
            raise operand.text.error("a user or a port has no meaning in -x")
        return candidates.names_of(operand, is_excluded=True)

    excluded: dict[str, None] = {}
    for text in exclude:
        excluded.update(evaluate(parse(text, source="-x"), names_of))
    left = {name: None for name in chosen if name not in excluded}
    if not left:
        raise UsageError("no host is selected", hint="-x excludes all that were")
    return left


def _picked(hosts: list[Host], pick: int | None, rng: random.Random | None) -> tuple[Host, ...]:
    """Pick some of the hosts at random, in their order."""
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
    """The hosts and groups of hosts files; without a file, the names given to ``select`` are the hosts.

    Attributes:
        by_name: The hosts by name, in the order of the files. Equal settings are one object.
        graph: The groups and their members.
        sources: The files, in order; empty if there are none.
    """

    by_name: Mapping[str, Host] = field(default_factory=dict)
    graph: GroupGraph = NO_GROUPS
    sources: tuple[str, ...] = ()

    @classmethod
    def load(cls, *paths: str | os.PathLike[str], stdin: BinaryIO | None = None) -> Self:
        """Read hosts files into one inventory.

        Args:
            paths: YAML files or plain lists, in order; ``-`` is ``stdin``. Without any, ``select`` makes
                hosts of the names that it is given.
            stdin: The stream that ``-`` reads, to its end.

        Raises:
            InventoryError: A file cannot be read, or its content is wrong.
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
        """The groups by name, in the order of the files."""
        return self.graph.groups

    def groups_of(self, host: str) -> tuple[str, ...]:
        """Return all groups of a host, nearest first; none for a host that is not listed."""
        return self.graph.groups_of(host)

    def members(self, group: str) -> tuple[Host, ...]:
        """Return the hosts of a group and of the groups inside it, each once, in the order of the files.

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
        all_hosts: bool = False,
        pick: int | None = None,
        missing_ok: bool = False,
        rng: random.Random | None = None,
    ) -> tuple[Host, ...]:
        """Select hosts as the command line's options do.

        Args:
            nodes: One or several values of ``-w``, such as ``"web[01-12]!web03"``; their hosts add up.
            exclude: One or several values of ``-x``.
            groups: One or several values of ``-g``.
            all_hosts: Select all hosts, as ``-a`` does. With a hosts file, this is the default if neither
                ``nodes`` nor ``groups`` are given.
            pick: Select only so many of these hosts, at random.
            missing_ok: Whether excluded names need not exist.
            rng: The random numbers for ``pick``; those of the system by default.

        Returns:
            At least one host: in the order of the files or, without a file, of mention.

        Raises:
            NodeSetError: An expression is not valid, or names an unknown host or group.
            UsageError: The options contradict each other, or no host is selected.
        """
        check_call(Inventory.select, locals())
        selectors = Selectors(
            nodes=_several(nodes),
            exclude=_several(exclude),
            groups=_several(groups),
            all_hosts=all_hosts,
            pick=pick,
            missing_ok=missing_ok,
        )
        if not self.sources:
            return select_unlisted(selectors, rng=rng)
        candidates = Candidates(
            self.by_name, self.graph, " ".join(self.sources), is_listed=True, missing_ok=missing_ok
        )
        return select_listed(selectors, candidates, rng=rng)


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """Disable the garbage collector.

    A large file makes a million objects without a cycle among them; to search them takes longer than reading.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _several(texts: str | Sequence[str]) -> Sequence[str]:
    """Return a single text as a sequence of one; a string itself is a sequence of letters."""
    return (texts,) if isinstance(texts, str) else texts
