"""What hosts files declare, and the hosts and groups that follow from it.

All files of a run are read into one ``Draft``, in order. A later declaration may
add to an earlier one and may repeat it; where the two differ, the error names
both locations. ``resolve`` then checks the groups and computes the settings of
each host.

The nearest declaration wins, key by key: the host's own, then that of the
groups that list it, then that of the groups around those, and so on, then the
defaults. Groups at the same distance that declare different values are an
error, unless something nearer overrides them: the order of two groups in a file
should not decide where a command runs.
"""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from multirsh.errors import InventoryError, did_you_mean
from multirsh.inventory.ranges import MAX_NAMES, check_count
from multirsh.inventory.text import Fragment, Location
from multirsh.model import NO_SETTINGS, NO_VARS, Host, Scalar, Settings

MAX_MENTIONS: Final = 5 * MAX_NAMES
"""Names that all ranges of all files may expand to: a host may be in several groups. Names that are written
out are bounded by the size of the file."""


@dataclass(frozen=True, slots=True)
class Sourced:
    """A value and the location where it was declared."""

    value: Scalar
    place: Location


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of declarations: those of a host, of a group, or the defaults.

    Attributes:
        settings: The settings by key, such as ``user``.
        vars: The user's variables by name.
    """

    settings: Mapping[str, Sourced] = field(default_factory=dict)
    vars: Mapping[str, Sourced] = field(default_factory=dict)


EMPTY_LAYER: Final = Layer()


@dataclass(slots=True)
class DraftGroup:
    """A group as far as it has been read.

    Attributes:
        layer: Its settings and variables.
        hosts: The names of the hosts that it lists, as keys.
        groups: The groups inside it, with the location where each was first named.
    """

    layer: Layer = EMPTY_LAYER
    hosts: dict[str, None] = field(default_factory=dict)
    groups: dict[str, Location] = field(default_factory=dict)


@dataclass(slots=True)
class Draft:
    """Everything that has been read so far.

    Attributes:
        sources: The files, in order.
        defaults: The declarations for all hosts.
        hosts: The declarations of each host itself, in the order of first mention, in a group or not.
        addresses: The addresses by host.
        groups: The groups by name, in order.
        mentions: The number of names that ranges have expanded to, with repetitions.
    """

    sources: list[str] = field(default_factory=list)
    defaults: Layer = EMPTY_LAYER
    hosts: dict[str, Layer] = field(default_factory=dict)
    addresses: dict[str, Sourced] = field(default_factory=dict)
    groups: dict[str, DraftGroup] = field(default_factory=dict)
    mentions: int = 0

    def count(self, names: int, text: Fragment) -> None:
        """Count the names of a range before it is expanded.

        Raises:
            NodeSetError: A pattern, or all files together, may not expand to so many.
        """
        check_count(names, text)
        self.mentions += names
        if self.mentions > MAX_MENTIONS:
            raise text.error(f"with these, the ranges stand for more than {MAX_MENTIONS:,} names")

    def add_defaults(self, layer: Layer) -> None:
        """Add declarations for all hosts.

        Raises:
            InventoryError: They contradict earlier ones.
        """
        self.defaults = merged("defaults", self.defaults, layer)

    def add_hosts(self, names: Iterable[str], layer: Layer = EMPTY_LAYER) -> None:
        """Add hosts that share a layer.

        Raises:
            InventoryError: It contradicts an earlier declaration of one of the hosts.
        """
        for name in names:
            earlier = self.hosts.setdefault(name, layer)
            if earlier is not layer and layer is not EMPTY_LAYER:
                self.hosts[name] = layer if earlier is EMPTY_LAYER else merged(name, earlier, layer)

    def add_address(self, name: str, address: Sourced) -> None:
        """Add the address of a host.

        Raises:
            InventoryError: The host already has another address.
        """
        _check_same(name, "address", self.addresses.setdefault(name, address), address)

    def add_group(self, name: str, layer: Layer) -> DraftGroup:
        """Add a group, for the caller to fill.

        Raises:
            InventoryError: The layer contradicts an earlier declaration of the group.
        """
        group = self.groups.setdefault(name, DraftGroup())
        group.layer = merged(f"the group {name}", group.layer, layer)
        return group

    def check_size(self, place: Location) -> None:
        """Check that there are at most ``MAX_NAMES`` hosts.

        Raises:
            InventoryError: There are more.
        """
        if len(self.hosts) > MAX_NAMES:
            raise place.error(f"{len(self.hosts):,} hosts are too many", hint=f"the limit is {MAX_NAMES:,}")


def merged(subject: str, earlier: Layer, later: Layer) -> Layer:
    """Merge two layers of the same subject.

    Raises:
        InventoryError: They contradict each other.
    """
    if later is EMPTY_LAYER or earlier is EMPTY_LAYER:
        return earlier if later is EMPTY_LAYER else later
    for first, second in ((earlier.settings, later.settings), (earlier.vars, later.vars)):
        for key, said in second.items():
            if key in first:
                _check_same(subject, key, first[key], said)
    return Layer({**later.settings, **earlier.settings}, {**later.vars, **earlier.vars})


def same(first: Sourced, second: Sourced) -> bool:
    """Whether two declarations have the same value; ``1`` and ``true`` differ."""
    return first.value == second.value and type(first.value) is type(second.value)


def _check_same(subject: str, key: str, first: Sourced, second: Sourced) -> None:
    if not same(first, second):
        raise contradiction(subject, key, first, second)


def contradiction(
    subject: str, key: str, first: Sourced, second: Sourced, *, hint: str = "leave one of them out"
) -> InventoryError:
    """Make the error for two values of one key, at the location of the second."""
    here, there = (_shown(said.value) for said in (second, first))
    return second.place.error(f"{key} of {subject} is {here} here and {there} at {first.place}", hint=hint)


def _shown(value: Scalar) -> str:
    return str(value) if isinstance(value, str) and value.isprintable() else repr(value)


@dataclass(frozen=True, slots=True)
class Group:
    """A group as it is declared.

    Attributes:
        name: The name, without ``@``.
        hosts: The names of the hosts that the group itself lists, in order.
        groups: The names of the groups inside it.
    """

    name: str
    hosts: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupGraph:
    """The groups of an inventory, a graph without cycles and without unknown names.

    Members are computed on demand: stored, a chain of nested groups over a large fleet would hold the
    fleet once for each group.

    Attributes:
        groups: The groups by name, in order.
        parents: For each group, the groups that contain it directly, in order.
        listed_in: For each host in a group, the groups that list it themselves, in order. Equal tuples are
            one object.
    """

    groups: Mapping[str, Group] = field(default_factory=dict)
    parents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    listed_in: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, groups: Iterable[Group]) -> GroupGraph:
        """Make the graph of groups, which have no cycle and no unknown name."""
        by_name = {group.name: group for group in groups}
        parents: dict[str, list[str]] = {}
        listed_in: dict[str, tuple[str, ...]] = {}
        longer: dict[tuple[tuple[str, ...], str], tuple[str, ...]] = {}
        for group in by_name.values():
            for child in group.groups:
                parents.setdefault(child, []).append(group.name)
            for host in group.hosts:
                shorter = listed_in.get(host, ())
                if (shorter, group.name) not in longer:
                    longer[shorter, group.name] = (*shorter, group.name)
                listed_in[host] = longer[shorter, group.name]
        return cls(by_name, {child: tuple(names) for child, names in parents.items()}, listed_in)

    def hosts_of(self, name: str) -> Iterator[str]:
        """Yield the hosts of a group and of all groups inside it, with repetitions.

        Raises:
            KeyError: There is no such group.
        """
        pending = [name]
        seen = {name}
        while pending:
            group = self.groups[pending.pop()]
            yield from group.hosts
            inner = [child for child in group.groups if child not in seen]
            seen.update(inner)
            pending.extend(reversed(inner))

    def levels(self, names: Iterable[str]) -> Iterator[tuple[str, ...]]:
        """Yield groups by distance, nearest first: ``names``, then the groups that contain them, and so on.

        The distance of a group is that of the shortest path to it.
        """
        level = tuple(names)
        seen = set(level)
        while level:
            yield level
            above = dict.fromkeys(parent for name in level for parent in self.parents.get(name, ()))
            level = tuple(name for name in above if name not in seen)
            seen.update(level)

    def groups_of(self, host: str) -> tuple[str, ...]:
        """Return all groups of a host, nearest first."""
        return tuple(name for level in self.levels(self.listed_in.get(host, ())) for name in level)


NO_GROUPS: Final = GroupGraph()


def resolve(draft: Draft) -> tuple[dict[str, Host], GroupGraph]:
    """Compute the hosts and groups that a draft declares.

    Returns:
        The hosts by name, in the order of the files, and the groups.

    Raises:
        InventoryError: A group is unknown or contains itself, two groups contradict each other about a
            host, or there are no hosts.
    """
    if not draft.hosts:
        raise InventoryError("there are no hosts in it", source=" ".join(draft.sources))
    _check_known(draft)
    _check_no_cycle(draft)
    graph = GroupGraph.of(
        Group(name, tuple(group.hosts), tuple(group.groups)) for name, group in draft.groups.items()
    )
    resolver = _Resolver(draft, graph)
    return {name: resolver.host(name, layer) for name, layer in draft.hosts.items()}, graph


def _check_known(draft: Draft) -> None:
    for group in draft.groups.values():
        for name, place in group.groups.items():
            if name not in draft.groups:
                hint = did_you_mean(name, draft.groups)
                if hint is None and name in draft.hosts:
                    hint = "that is a host: name it under hosts:"
                raise place.error(f"there is no group {name}", hint=hint)


def _check_no_cycle(draft: Draft) -> None:
    try:
        graphlib.TopologicalSorter({name: group.groups for name, group in draft.groups.items()}).prepare()
    except graphlib.CycleError as error:
        # The sorter lists a cycle from the inside out: each group is inside the next one.
        cycle = error.args[1][::-1]
        place = draft.groups[cycle[-2]].groups[cycle[-1]]
        raise place.error(f"a group cannot contain itself: {' > '.join(cycle)}") from error


@dataclass(frozen=True, slots=True)
class _Resolver:
    """Computes settings once for all hosts with the same layers.

    Equal settings, and equal variables, are one object in the whole inventory.
    """

    draft: Draft
    graph: GroupGraph
    resolved: dict[tuple[int, tuple[str, ...]], tuple[Settings, Mapping[str, Scalar]]] = field(
        default_factory=dict
    )
    settings: dict[Settings, Settings] = field(default_factory=lambda: {NO_SETTINGS: NO_SETTINGS})
    variables: dict[tuple[object, ...], Mapping[str, Scalar]] = field(default_factory=lambda: {(): NO_VARS})

    def host(self, name: str, own: Layer) -> Host:
        groups = self.graph.listed_in.get(name, ())
        key = (id(own), groups)  # the draft keeps every layer alive, so that its id is unique
        if key not in self.resolved:
            self.resolved[key] = self._resolve(name, own, groups)
        settings, variables = self.resolved[key]
        address = self.draft.addresses.get(name)
        return Host(name, None if address is None else str(address.value), settings, variables)

    def _resolve(
        self, host: str, own: Layer, groups: tuple[str, ...]
    ) -> tuple[Settings, Mapping[str, Scalar]]:
        around = [[self.draft.groups[name].layer for name in level] for level in self.graph.levels(groups)]
        levels = [[own], *around, [self.draft.defaults]]
        settings = _nearest(host, [[layer.settings for layer in level] for level in levels])
        variables = _nearest(host, [[layer.vars for layer in level] for level in levels])
        return self._one_settings(settings), self._one_vars(variables)

    def _one_settings(self, said: Mapping[str, Sourced]) -> Settings:
        values: dict[str, Any] = {key: value.value for key, value in said.items()}
        settings = Settings(**values)
        return self.settings.setdefault(settings, settings)

    def _one_vars(self, said: Mapping[str, Sourced]) -> Mapping[str, Scalar]:
        values = {name: said[name].value for name in sorted(said)}
        # 1, 1.0 and true are equal keys, but not the same variable.
        key = tuple((name, type(value), value) for name, value in values.items())
        return self.variables.setdefault(key, MappingProxyType(values))


def _nearest(host: str, levels: Iterable[Iterable[Mapping[str, Sourced]]]) -> dict[str, Sourced]:
    """Return the nearest declaration of each key; the levels are given nearest first.

    Raises:
        InventoryError: The nearest level with a key declares two values of it.
    """
    nearest: dict[str, Sourced] = {}
    for level in levels:
        here: dict[str, Sourced] = {}
        for declared in level:
            for key, said in declared.items():
                if key not in nearest and not same(here.setdefault(key, said), said):
                    raise contradiction(
                        host,
                        key,
                        here[key],
                        said,
                        hint="both groups are equally near: set it for the host itself",
                    )
        nearest.update(here)
    return nearest
