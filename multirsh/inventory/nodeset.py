"""Node-set expressions such as ``web[01-12],db*!@old``: parsing and evaluating them.

::

    expression  operand { operator operand }
    operator    ,  union   !  difference   &  intersection   ^  symmetric difference
    operand     [user@]names[:port]   names as in ranges, with * and ? a glob
                @groups               group names, ranges and globs too; @* is all hosts, in groups or not

Operators have no precedence and there are no parentheses: evaluation goes
from left to right, as in ClusterShell. Empty members (``a,,b``) are ignored. In
a glob, ``*`` matches any characters and ``?`` matches one; brackets are ranges
there as everywhere.

The caller of ``evaluate`` supplies the names of an operand, since they depend
on the inventory.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from multirsh.inventory.ranges import Pattern, check_count, members, parse_pattern, split_items
from multirsh.inventory.text import Fragment, Location, check_group, split_host_spec

MAX_GLOBS: Final = 1_000
"""Globs that the ranges of one operand may expand to; each is matched against every host."""


class Operator(enum.Enum):
    """How an operand changes the set to its left."""

    UNION = ","
    DIFFERENCE = "!"
    INTERSECTION = "&"
    SYMMETRIC_DIFFERENCE = "^"


class OperandKind(enum.Enum):
    """What the words of an operand are."""

    NAMES = "names"
    GLOBS = "globs"
    GROUPS = "groups"


@dataclass(frozen=True, slots=True)
class Operand:
    """One operand, parsed but not looked up.

    Attributes:
        kind: Whether the words are host names, globs of them, or names or globs of groups.
        words: The words, as a pattern.
        text: The text of the operand, for errors.
        user: The login name for these hosts, or ``None``; never for groups.
        port: The port for these hosts, or ``None``; never for groups.
        is_excluded: Whether the operand follows a ``!``.
    """

    kind: OperandKind
    words: Pattern
    text: Fragment
    user: str | None = None
    port: int | None = None
    is_excluded: bool = False


@dataclass(frozen=True, slots=True)
class Term:
    """An operand and the operator before it, which is ``UNION`` for the first one."""

    operator: Operator
    operand: Operand


def parse(text: str, *, source: str = "-w") -> tuple[Term, ...]:
    """Parse an expression.

    Args:
        text: The expression.
        source: The option that it was given to, for errors.

    Returns:
        At least one term.

    Raises:
        NodeSetError: The expression is not valid, or has more than ``MAX_NAMES`` names.
    """
    whole = Fragment.of(text, Location(source))
    terms: list[Term] = []
    count = 0
    for operator, item in split_items(whole, ",!&^"):
        fragment = item.strip()
        if not fragment.text and operator == ",":
            continue
        if not (fragment.text and (terms or operator == ",")):
            raise _missing_operand(whole, item, operator)
        operand = _operand(fragment)
        if operator == "!":
            operand = replace(operand, is_excluded=True)
        if operator != "," and not (operand.user is None and operand.port is None):
            raise fragment.error(f"a user or a port has no meaning after {operator!r}")
        if operand.kind is OperandKind.NAMES:
            count += operand.words.count
            check_count(count, fragment)
        terms.append(Term(Operator(operator), operand))
    if not terms:
        raise whole.error("no host is named here")
    return tuple(terms)


def parse_group_list(text: str, *, source: str = "-g") -> tuple[Operand, ...]:
    """Parse the value of ``-g``: group names, and ranges and globs of them, separated by commas.

    Raises:
        NodeSetError: The value is not valid.
    """
    whole = Fragment.of(text, Location(source))
    operands: list[Operand] = []
    for fragment in members(whole):
        if fragment.text[:1] == "@":
            raise fragment.error("group names stand without '@' here", hint="leave the '@' out")
        operands.append(_group_operand(fragment, fragment))
    return tuple(operands)


def evaluate(terms: Iterable[Term], resolve: Callable[[Operand], Iterable[str]]) -> dict[str, None]:
    """Evaluate the terms from left to right.

    Args:
        terms: The terms of one expression.
        resolve: Returns the names of an operand; may raise ``NodeSetError``.

    Returns:
        The names, as the keys of a dict, in the order in which they were added.

    Raises:
        NodeSetError: It was raised by ``resolve``.
    """
    result: dict[str, None] = {}
    for term in terms:
        names = dict.fromkeys(resolve(term.operand))
        match term.operator:
            case Operator.UNION:
                result.update(names)
            case Operator.DIFFERENCE:
                for name in names:
                    result.pop(name, None)
            case Operator.INTERSECTION:
                result = {name: None for name in result if name in names}
            case Operator.SYMMETRIC_DIFFERENCE:
                left = result
                result = {name: None for name in left if name not in names}
                result.update((name, None) for name in names if name not in left)
    return result


def glob_matcher(glob: str) -> Callable[[str], bool]:
    """Return a function that tests whether a whole name matches a glob.

    Its time is linear in the length of the name, however many ``*`` there are: each piece between two is
    matched where it first fits, and not tried again (an atomic group).

    Args:
        glob: Literal text with ``*`` and ``?``.
    """
    pieces = [re.escape(piece).replace(r"\?", ".") for piece in glob.split("*")]
    first, rest = pieces[0], pieces[1:]
    if not rest:
        expression = first
    else:
        *middle, last = rest
        expression = first + "".join(f"(?>.*?{piece})" for piece in middle) + f".*{last}"
    compiled = re.compile(expression, re.DOTALL)
    return lambda name: compiled.fullmatch(name) is not None


def _operand(text: Fragment) -> Operand:
    if text.text[0] == "@":
        return _group_operand(text.cut(1), text)
    if "@@" in text.text:
        raise text.error(
            "a user cannot be given to a group", at=text.text.index("@@"), hint="use -l for the user"
        )
    endpoint = split_host_spec(text)
    is_glob = "*" in endpoint.host.text or "?" in endpoint.host.text
    words = parse_pattern(endpoint.host, wildcards=is_glob)
    if is_glob:
        _check_globs(words, endpoint.host)
    return Operand(
        OperandKind.GLOBS if is_glob else OperandKind.NAMES, words, text, endpoint.user, endpoint.port
    )


def _group_operand(names: Fragment, text: Fragment) -> Operand:
    """Parse group names, which may be a range or a glob."""
    if not names.text:
        raise text.error("a group name is missing here")
    if names.text == "*":
        return Operand(OperandKind.GLOBS, parse_pattern(names, wildcards=True), text)
    _check_group_names(names)
    words = parse_pattern(names, wildcards=True)
    _check_globs(words, names)
    return Operand(OperandKind.GROUPS, words, text)


def _check_group_names(names: Fragment) -> None:
    """Refuse characters that a host pattern may hold but a group's name may not."""
    bare = re.sub(r"\[[^\]]*\]?", "0", names.text)  # a range counts as a number
    if re.search(r"[@:%]", bare):
        check_group(names)
    for operator in "!&^":
        if operator in bare:
            raise names.error(
                f"{operator!r} cannot be used between groups here",
                at=names.text.index(operator),
                hint=f"-w takes it, as in -w '@prod{operator}@web'",
            )


def _check_globs(words: Pattern, text: Fragment) -> None:
    if words.count > MAX_GLOBS:
        raise text.error(f"{words.count:,} globs are too many", hint=f"the limit is {MAX_GLOBS:,}")


def _missing_operand(whole: Fragment, item: Fragment, operator: str) -> Exception:
    """Make the error for an operator without an operand on one side."""
    at = item.offset - 1
    if item.text.strip():
        hint = f"there is nothing before it; write *{operator}... to begin with all hosts of the file"
    else:
        hint = "there is nothing after it"
    return whole.error(f"a name is missing at {operator!r}", at=at, hint=hint)
