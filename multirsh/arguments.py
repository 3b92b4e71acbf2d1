"""Checks that the arguments of the library's calls have the types of their annotations.

Without it, a wrong type shows far from the call: as an AttributeError in a
module that the caller does not know, or as a host that ends as ``internal``.
What is made once per run or per fleet is checked when it is made; what is made
once per host is checked when a fleet is made of it.

Errors never show values: a wrong one may be a secret.
"""

from __future__ import annotations

import collections.abc
import types
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeGuard, Union, get_args, get_origin, get_type_hints


def check_call(function: Callable[..., Any], given: Mapping[str, object]) -> None:
    """Check arguments by the annotations of a function.

    Args:
        function: The function that was called.
        given: Its arguments by name, such as ``locals()`` at its beginning.

    Raises:
        TypeError: An argument has another type than its annotation says.
    """
    for name, hint in field_hints(function).items():
        # Almost every value has the very type, which takes one look and no call.
        if name in given and (kind := type(given[name])) is not hint:
            if isinstance(hint, types.UnionType) and kind in hint.__args__:
                continue
            check_argument(name, given[name], hint)


def check_fields(instance: object) -> None:
    """Check the fields of a dataclass by their annotations; for its ``__post_init__``.

    Raises:
        TypeError: A field has another type than its annotation says.
    """
    owner: Callable[..., Any] = type(instance)
    for name, hint in field_hints(owner).items():
        if (kind := type(value := getattr(instance, name))) is not hint:
            if isinstance(hint, types.UnionType) and kind in hint.__args__:
                continue
            check_argument(f"{owner.__name__}.{name}", value, hint)


@cache
def field_hints(owner: Callable[..., Any]) -> Mapping[str, Any]:
    """Return the annotations of a function's parameters, or of a class's fields."""
    hints = get_type_hints(owner)
    hints.pop("return", None)
    return hints


def check_argument(name: str, value: object, hint: Any) -> None:
    """Check one argument.

    Args:
        name: Its name in the error.
        value: The argument.
        hint: Its annotation.

    Raises:
        TypeError: The argument has another type.
    """
    if _matches(value, hint):
        return
    for several in get_args(hint) if _is_union(hint) else (hint,):
        kind = get_origin(several)
        if kind is collections.abc.Mapping and isinstance(value, Mapping):
            _check_items(name, value, *get_args(several))
        elif (_is_list(several) or (kind is tuple and isinstance(value, tuple))) and _is_list_like(value):
            hint = get_args(several)[0]
            index, value = next((i, one) for i, one in enumerate(value) if not _matches(one, hint))
            name = f"{name}[{index}]"
            break
    raise TypeError(f"{name} must be {_worded(hint)}, not {_type_name(type(value))}")


def _check_items(name: str, mapping: Mapping[Any, object], key_hint: Any, hint: Any) -> None:
    """Check a mapping's keys, then its values.

    Raises:
        TypeError: One has another type.
    """
    for key in mapping:
        check_argument(f"a key of {name}", key, key_hint)
    for key, value in mapping.items():
        check_argument(f"{name}[{key!r}]", value, hint)


def _matches(value: object, hint: Any) -> bool:
    arguments = get_args(hint)
    if hint is Any or isinstance(hint, str):
        return True
    if _is_union(hint):
        return any(_matches(value, one) for one in arguments)
    if _is_list(hint):
        return _is_list_like(value) and (
            {*map(type, value)} == {arguments[0]} or all(_matches(one, arguments[0]) for one in value)
        )
    kind = get_origin(hint) or hint
    if kind is tuple:
        return isinstance(value, tuple) and all(_matches(one, arguments[0]) for one in value)
    if kind is collections.abc.Mapping:
        return isinstance(value, Mapping) and all(
            _matches(key, arguments[0]) and _matches(one, arguments[1]) for key, one in value.items()
        )
    if kind in {int, float}:
        # True is an int to Python, and a mistake here; an int is a float to the typing of Python (PEP 484).
        return isinstance(value, (int, float) if kind is float else int) and not isinstance(value, bool)
    if getattr(kind, "_is_protocol", False) and kind.__module__.startswith("multirsh."):
        return all(hasattr(value, member) for member in vars(kind) if not member.startswith("_"))
    return isinstance(value, kind)


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in {Union, types.UnionType}


def _is_list(hint: Any) -> bool:
    return get_origin(hint) is collections.abc.Sequence


def _is_list_like(value: object) -> TypeGuard[collections.abc.Sequence[Any]]:
    return isinstance(value, collections.abc.Sequence) and not isinstance(value, str | bytes)


def _worded(hint: Any) -> str:
    if _is_union(hint):
        *first, last = [_worded(one) for one in get_args(hint)]
        return f"{', '.join(first)} or {last}"
    if _is_list(hint):
        return f"a sequence of {_worded(get_args(hint)[0])}"
    kind = get_origin(hint) or hint
    if kind is tuple:
        return f"a tuple of {_worded(get_args(hint)[0])}"
    if kind is collections.abc.Mapping:
        return "a mapping of {} to {}".format(*map(_worded, get_args(hint)))
    return "a callable" if kind is collections.abc.Callable else _type_name(kind)


def _type_name(kind: Any) -> str:
    return "None" if kind is types.NoneType else str(getattr(kind, "__name__", kind))
