"""A draft into hosts and groups: groups checked, and each host's settings worked out.

The nearest word wins, key by key: the host's own, then that of the groups that
list it, then that of the groups around those, and so on, then the defaults.
Groups at the same distance that say different things are an error, unless
something nearer has the say: which of two groups was written first should not
decide where a command runs.
"""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from multirsh.errors import InventoryError
from multirsh.inventory.draft import Draft, Layer, Said, Sayings, contradiction, same
from multirsh.inventory.groups import Group, GroupGraph
from multirsh.inventory.suggest import did_you_mean
from multirsh.model import NO_SETTINGS, NO_VARS, Host, Scalar, Settings


def resolve(draft: Draft) -> tuple[dict[str, Host], GroupGraph]:
    """Work out what the files say.

    Returns:
        The hosts by name, in the order of the files, and the groups.

    Raises:
        InventoryError: A group is not known or contains itself, two groups contradict each other
            on a host, or there are no hosts.
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
        # The sorter lists a cycle from the inside out: each group stands inside the next one.
        cycle = error.args[1][::-1]
        place = draft.groups[cycle[-2]].groups[cycle[-1]]
        raise place.error(f"a group cannot contain itself: {' > '.join(cycle)}") from error


@dataclass(frozen=True, slots=True)
class _Resolver:
    """Works out settings once for all hosts that the same places speak of.

    Equal settings, and equal variables, are one object throughout the inventory.
    """

    draft: Draft
    graph: GroupGraph
    worked_out: dict[tuple[int, tuple[str, ...]], tuple[Settings, Mapping[str, Scalar]]] = field(
        default_factory=dict
    )
    settings: dict[Settings, Settings] = field(default_factory=lambda: {NO_SETTINGS: NO_SETTINGS})
    variables: dict[tuple[object, ...], Mapping[str, Scalar]] = field(default_factory=lambda: {(): NO_VARS})

    def host(self, name: str, own: Layer) -> Host:
        groups = self.graph.listed_in.get(name, ())
        key = (id(own), groups)  # the draft keeps every layer alive, so an id names one
        if key not in self.worked_out:
            self.worked_out[key] = self._work_out(name, own, groups)
        settings, variables = self.worked_out[key]
        address = self.draft.addresses.get(name)
        return Host(name, None if address is None else str(address.value), settings, variables)

    def _work_out(
        self, host: str, own: Layer, groups: tuple[str, ...]
    ) -> tuple[Settings, Mapping[str, Scalar]]:
        around = [[self.draft.groups[name].layer for name in level] for level in self.graph.levels(groups)]
        levels = [[own], *around, [self.draft.defaults]]
        settings = _nearest(host, [[layer.settings for layer in level] for level in levels])
        variables = _nearest(host, [[layer.vars for layer in level] for level in levels])
        return self._one_settings(settings), self._one_vars(variables)

    def _one_settings(self, said: Sayings) -> Settings:
        values: dict[str, Any] = {key: value.value for key, value in said.items()}
        settings = Settings(**values)
        return self.settings.setdefault(settings, settings)

    def _one_vars(self, said: Sayings) -> Mapping[str, Scalar]:
        values = {name: said[name].value for name in sorted(said)}
        # 1, 1.0 and true are equal keys, but not the same variable.
        key = tuple((name, type(value), value) for name, value in values.items())
        return self.variables.setdefault(key, MappingProxyType(values))


def _nearest(host: str, levels: Iterable[Iterable[Sayings]]) -> dict[str, Said]:
    """For each key, what is said nearest; levels come nearest first.

    Raises:
        InventoryError: The nearest level that speaks of a key says two things.
    """
    nearest: dict[str, Said] = {}
    for level in levels:
        here: dict[str, Said] = {}
        for sayings in level:
            for key, said in sayings.items():
                if key not in nearest and not same(here.setdefault(key, said), said):
                    raise contradiction(
                        host, key, here[key], said, hint="two of its groups, equally near: say it of the host"
                    )
        nearest.update(here)
    return nearest
