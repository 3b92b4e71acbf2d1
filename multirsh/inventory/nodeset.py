"""Node-set expressions: ``web[01-12],db*!@old`` into operations, and operations into names.

::

    expression  operand { operator operand }
    operator    ,  union   !  difference   &  intersection   ^  symmetric difference
    operand     [user@]names[:port]   names as in ranges, with * and ? a glob
                @groups               group names, ranges and globs too; @* is all hosts, in groups or not

Operators have no precedence and there are no parentheses: evaluation goes
from left to right, as in ClusterShell. Empty members (``a,,b``) are passed
over. In a glob, ``*`` is any run of characters and ``?`` is one; brackets are
ranges there as everywhere.

What an operand means, for lack or presence of an inventory, is not known
here: ``evaluate`` asks its caller.
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
"""Globs that one operand's ranges may stand for; each is held against every host."""


class Operator(enum.Enum):
    """How an operand changes what was chosen to its left."""

    UNION = ","
    DIFFERENCE = "!"
    INTERSECTION = "&"
    SYMMETRIC_DIFFERENCE = "^"


class OperandKind(enum.Enum):
    """What an operand's words are."""

    NAMES = "names"
    GLOBS = "globs"
    GROUPS = "groups"


@dataclass(frozen=True, slots=True)
class Operand:
    """One operand, read but not looked up.

    Attributes:
        kind: Whether its words are host names, globs over them, or names or globs of groups.
        words: The words, as a pattern.
        text: What was read, for errors.
        user: Login name for these hosts, or ``None``; never for groups.
        port: Port for these hosts, or ``None``; never for groups.
        is_excluded: Whether it comes after a ``!``.
    """

    kind: OperandKind
    words: Pattern
    text: Fragment
    user: str | None = None
    port: int | None = None
    is_excluded: bool = False


@dataclass(frozen=True, slots=True)
class Term:
    """An operand and the operator before it; the first one's is ``UNION``."""

    operator: Operator
    operand: Operand


def parse(text: str, *, source: str = "-w") -> tuple[Term, ...]:
    """Read an expression.

    Args:
        text: The expression.
        source: The option it was given to, for errors.

    Returns:
        At least one term.

    Raises:
        NodeSetError: It cannot be read, or its names would be more than ``MAX_NAMES``.
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
    """Read what ``-g`` takes: group names, ranges and globs of them, with commas between.

    Raises:
        NodeSetError: It cannot be read.
    """
    whole = Fragment.of(text, Location(source))
    operands: list[Operand] = []
    for fragment in members(whole):
        if fragment.text[:1] == "@":
            raise fragment.error("group names stand without '@' here", hint="leave the '@' out")
        operands.append(_group_operand(fragment, fragment))
    return tuple(operands)


def evaluate(terms: Iterable[Term], resolve: Callable[[Operand], Iterable[str]]) -> dict[str, None]:
    """Apply the terms from left to right.

    Args:
        terms: The terms of one expression.
        resolve: Gives the names an operand stands for; may raise ``NodeSetError``.

    Returns:
        The names, as the keys of a dict, in the order in which they came in.

    Raises:
        NodeSetError: From ``resolve``.
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
    """Make the test whether a name matches a glob as a whole.

    Args:
        glob: Literal text with ``*`` and ``?``.

    Returns:
        The test. It takes time in proportion to the name, however many ``*`` there are: each piece
        between two is taken where it first fits, and not tried again (an atomic group).
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
    """Read group names, which may be a range or a glob, after the ``@``."""
    if not names.text:
        raise text.error("a group name is missing here")
    if names.text == "*":
        return Operand(OperandKind.GLOBS, parse_pattern(names, wildcards=True), text)
    _refuse_what_is_no_group(names)
    words = parse_pattern(names, wildcards=True)
    _check_globs(words, names)
    return Operand(OperandKind.GROUPS, words, text)


def _refuse_what_is_no_group(names: Fragment) -> None:
    """Refuse what a host pattern may hold and a group's name may not."""
    bare = re.sub(r"\[[^\]]*\]?", "0", names.text)  # a range counts as the number it stands for
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
    """Say on which side of the operator an operand is missing."""
    at = item.offset - 1
    if item.text.strip():
        hint = f"there is nothing before it; write *{operator}... to begin with all hosts of the file"
    else:
        hint = "there is nothing after it"
    return whole.error(f"a name is missing at {operator!r}", at=at, hint=hint)
