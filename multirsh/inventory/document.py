"""Reading a YAML hosts file into a draft: its keys, and what their values may be.

::

    defaults: SETTINGS
    hosts:    [ NAMES | NAMES: {address: NAMES, SETTINGS} ... ]
    groups:   { GROUP: {hosts: [NAMES ...], groups: [GROUP ...], SETTINGS} ... }
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from multirsh.inventory.draft import EMPTY_LAYER, Draft, Layer, Sourced
from multirsh.inventory.ranges import Pattern, parse_pattern, split_items
from multirsh.inventory.text import (
    ORDINARY_NAME,
    Fragment,
    Location,
    check_group,
    check_user,
    split_host_spec,
)
from multirsh.inventory.yaml_nodes import (
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
    as_port,
    as_text,
    as_transport,
    as_variable,
    as_word,
    parse_tree,
    unknown_key,
)
from multirsh.model import HostKeyPolicy, Scalar, SourcePort

HOST: Final = "a host name"

SECTIONS: Final = ("defaults", "hosts", "groups")
"""The keys at the top level."""

FOREIGN_KEYS: Final[Mapping[str, str]] = {
    "ansible_host": "address",
    "ansible_port": "port",
    "ansible_ssh_private_key_file": "identity",
    "ansible_user": "user",
    "bastion": "jump",
    "children": "groups",
    "hostname": "address",
    "identity_file": "identity",
    "identityfile": "identity",
    "ip": "address",
    "key": "identity",
    "login": "user",
    "nodes": "hosts",
    "private_key": "identity",
    "proxyjump": "jump",
    "username": "user",
    "variables": "vars",
}
"""Keys of other tools, and the keys that mean the same here."""


def read_document(text: str, source: str, draft: Draft) -> None:
    """Read a YAML hosts file.

    Args:
        text: The text of the file, with LF after each line.
        source: The name of the file, for errors.
        draft: Receives the declarations.

    Raises:
        InventoryError: The file is not a valid hosts file, or contradicts itself or the draft.
    """
    root = parse_tree(text, source)
    if root is None:
        raise Location(source, 1).error("there is nothing in it but comments")
    sections = _mapping(root, "the file", hint="it begins with hosts: or groups:")
    for name, (key, value) in sections.entries.items():
        match name:
            case "defaults":
                draft.add_defaults(_layer(_mapping(value, "defaults"), others=(), owner="defaults"))
            case "hosts":
                _read_hosts(value, draft)
            case "groups":
                _read_groups(value, draft)
            case _:
                raise _unknown_section(key, value)
        draft.check_size(key.place)


def _unknown_section(key: ScalarNode, value: Node) -> Exception:
    if isinstance(value, MappingNode) and {"hosts", "groups", "children"} & value.entries.keys():
        return key.place.error(f"the group {key.value!r} stands at the top", hint="put it under groups:")
    return unknown_key(key, SECTIONS, foreign=FOREIGN_KEYS.get(key.value))


def _read_hosts(node: Node, draft: Draft) -> None:
    for item in _list(node, "hosts", hint="put '- ' before each host"):
        if isinstance(item, ScalarNode):
            draft.add_hosts(_names(item, HOST, draft))
        elif isinstance(item, MappingNode):
            _read_host(item, draft)
        else:
            raise item.place.error("a host must be a name, not a list", hint=_QUOTE_BRACKETS)


_QUOTE_BRACKETS: Final = 'quote names that start with a bracket: "[::1]"'


def _read_host(item: MappingNode, draft: Draft) -> None:
    """Read ``name: {settings}``."""
    if len(item.entries) != 1:
        raise _not_one_host(item)
    ((key, value),) = item.entries.values()
    if not isinstance(value, MappingNode):
        raise value.place.error(
            f"the settings of {key.value!r} must be a mapping",
            hint="write - NAME: {user: ...}, or just - NAME",
        )
    layer = _layer(value, others=("address",), owner="a host")
    names = _names(key, HOST, draft)
    draft.add_hosts(names, layer)
    if "address" in value.entries:
        _read_addresses(names, value.entries["address"].value, draft)


def _not_one_host(item: MappingNode) -> Exception:
    if not item.entries:
        return item.place.error("a host is missing here")
    first, second, *_ = item.entries.values()
    if isinstance(first.value, ScalarNode) and not first.value.value:
        hint = f"indent the settings of {first.key.value!r} further than the name"
    else:
        hint = "put '- ' before each host"
    return second.key.place.error("one item holds one host", hint=hint)


def _read_addresses(names: list[str], node: Node, draft: Draft) -> None:
    """Add the addresses of hosts: as many as there are names, in the same order."""
    if not isinstance(node, ScalarNode):
        raise node.place.error("address must be text")
    addresses = _names(node, "address", draft)
    if len(addresses) != len(names):
        raise node.place.error(
            f"the hosts are {len(names):,} and the addresses {len(addresses):,}",
            hint="give each its own, such as 10.0.0.[1-4] to web[1-4]",
        )
    for name, address in zip(names, addresses, strict=True):
        draft.add_address(name, Sourced(address, node.place))


def _read_groups(node: Node, draft: Draft) -> None:
    groups = _mapping(node, "groups", hint="write groups: {web: {hosts: [...]}}")
    for key, value in groups.entries.values():
        name = check_group(as_text(key, "a group's name").fragment)
        entries = _mapping(value, f"the group {name}", hint=f"write {name}: {{hosts: [...]}}")
        group = draft.add_group(name, _layer(entries, others=("hosts", "groups"), owner="a group"))
        if "hosts" in entries.entries:
            for item in _list_or_text(entries.entries["hosts"].value, "hosts"):
                names = _names(_group_member(item), HOST, draft)
                draft.add_hosts(names)
                group.hosts.update(dict.fromkeys(names))
        if "groups" in entries.entries:
            for item in _list_or_text(entries.entries["groups"].value, "groups"):
                text = as_text(item, "a group's name")
                group.groups.setdefault(check_group(text.fragment), text.place)


def _group_member(item: Node) -> ScalarNode:
    if isinstance(item, MappingNode):
        raise item.place.error(
            "a host's settings cannot stand in a group", hint="give them under the top-level hosts:"
        )
    if isinstance(item, SequenceNode):
        raise item.place.error("a host must be a name, not a list", hint=_QUOTE_BRACKETS)
    return item


def _names(node: ScalarNode, what: str, draft: Draft) -> list[str]:
    """Expand a text into names, each once."""
    text = as_text(node, what)
    if ORDINARY_NAME.fullmatch(text.value):
        return [text.value]
    patterns = list(_patterns(text.fragment))
    draft.count(sum(pattern.count for pattern in patterns), text.fragment)
    return list(dict.fromkeys(itertools.chain.from_iterable(pattern.names() for pattern in patterns)))


def _patterns(text: Fragment) -> Iterator[Pattern]:
    for _, item in split_items(text, ","):
        name = item.strip()
        _refuse_login(name)
        yield parse_pattern(name)


def _refuse_login(name: Fragment) -> None:
    """Refuse ``user@host``, ``host:port`` and ``@group``, with a hint how to declare them."""
    if name.text[:1] == "@":
        raise name.error("a group cannot stand among hosts", hint="name groups under groups:")
    if "@" not in name.text and ":" not in name.text:
        return
    endpoint = split_host_spec(name)
    said = [f"user: {endpoint.user}"] if endpoint.user is not None else []
    said += [f"port: {endpoint.port}"] if endpoint.port is not None else []
    if said:
        parse_pattern(endpoint.host)
        raise name.error(
            "a user or a port cannot stand in a name here",
            hint=f"write {endpoint.host.text}: {{{', '.join(said)}}} under hosts:",
        )


def _user(node: Node) -> Scalar:
    return check_user(as_text(node, "user").fragment)


def _identity(node: Node) -> Scalar:
    return as_text(node, "identity").value


def _jump(node: Node) -> Scalar:
    """Check each hop of ``[user@]host[:port][,...]``; ssh's word ``none`` passes as a host's name."""
    text = as_text(node, "jump")
    for _, hop in split_items(text.fragment, ","):
        endpoint = split_host_spec(hop)
        if parse_pattern(endpoint.host).count != 1:
            raise hop.error("a hop is one host", hint="hops stand in order, with commas between")
    return text.value


SETTINGS: Final[Mapping[str, Callable[[Node], Scalar]]] = {
    "user": _user,
    "port": as_port,
    "identity": _identity,
    "jump": _jump,
    "transport": as_transport,
    "source_port": lambda node: as_word(node, "source_port", SourcePort),
    "host_keys": lambda node: as_word(node, "host_keys", HostKeyPolicy),
}
"""The readers of the values, by setting."""


def _layer(node: MappingNode, *, others: tuple[str, ...], owner: str) -> Layer:
    """Read the settings and variables in a mapping.

    Args:
        node: The mapping.
        others: Keys that the mapping may have as well; the caller reads them.
        owner: What the settings belong to, for errors.
    """
    settings: dict[str, Sourced] = {}
    variables: dict[str, Sourced] = {}
    for name, (key, value) in node.entries.items():
        if name in SETTINGS:
            settings[name] = Sourced(SETTINGS[name](value), value.place)
        elif name == "vars":
            variables = _variables(value)
        elif name == "address" and name not in others:
            raise key.place.error(
                f"{owner} cannot have an address", hint="only a host under the top-level hosts: has one"
            )
        elif name not in others:
            known = (*others, *SETTINGS, "vars")
            raise unknown_key(key, known, foreign=FOREIGN_KEYS.get(name.lower()))
    return Layer(settings, variables) if settings or variables else EMPTY_LAYER


def _variables(node: Node) -> dict[str, Sourced]:
    variables = _mapping(node, "vars", hint="write vars: {name: value}")
    return {
        as_text(key, "a variable's name").value: Sourced(
            as_variable(value, f"the variable {key.value}"), value.place
        )
        for key, value in variables.entries.values()
    }


def _mapping(node: Node, what: str, *, hint: str | None = None) -> MappingNode:
    if not isinstance(node, MappingNode):
        empty = isinstance(node, ScalarNode) and not node.value
        raise node.place.error(f"{what} {'is empty' if empty else 'must be a mapping'}", hint=hint)
    return node


def _list(node: Node, what: str, *, hint: str) -> list[Node]:
    if not isinstance(node, SequenceNode):
        empty = isinstance(node, ScalarNode) and not node.value
        raise node.place.error(f"{what} {'is empty' if empty else 'must be a list'}", hint=hint)
    return node.items


def _list_or_text(node: Node, what: str) -> list[Node]:
    """Return the items of a list; a single text is taken as a list of one."""
    if isinstance(node, ScalarNode) and node.value:
        return [node]
    return _list(node, what, hint=f"write {what}: [...]")
