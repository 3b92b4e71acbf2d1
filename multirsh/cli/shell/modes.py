"""How the next command's output is shown, in the words of the command line's options. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from multirsh.cli.options import DisplayOptions
from multirsh.errors import UsageError, did_you_mean

LIVE: Final = "live"
GATHER: Final = "gather"

_NONE: Final[dict[str, Any]] = {
    "gather": False,
    "gather_all": False,
    "blocks": False,
    "differences": False,
    "as_json": False,
}

MODES: Final[dict[str, dict[str, Any]]] = {
    LIVE: {},
    GATHER: {"gather": True},
    "gather-all": {"gather_all": True},
    "diff": {"differences": True},
    "blocks": {"blocks": True},
    "json": {"as_json": True},
}
"""A mode's name, and what the options would say."""

_GROUPED: Final = frozenset({GATHER, "gather-all", "diff"})


def mode_of(showing: DisplayOptions) -> str:
    """The mode that the options ask for."""
    if showing.differences:
        return "diff"
    if showing.blocks:
        return "blocks"
    if showing.gather_all:
        return "gather-all"
    if showing.gather:
        return GATHER
    return "json" if showing.as_json else LIVE


def next_mode(word: str, mode: str) -> str:
    """The mode that ``word`` asks for.

    Args:
        word: A mode, or ``=`` to gather if nothing is, and else to stop that.
        mode: The one so far.

    Raises:
        UsageError: There is no such mode.
    """
    if word == "=":
        return GATHER if mode == LIVE else LIVE
    if word not in MODES:
        raise UsageError(
            f"there is no mode {word}", hint=did_you_mean(word, MODES) or f"there are {', '.join(MODES)}"
        )
    return word


def showing_in(mode: str, showing: DisplayOptions) -> DisplayOptions:
    """What the options would say for ``mode``: it replaces their own, and what else they say stays."""
    if mode == mode_of(showing):  # where several were given, such as -B --diff, they stay together
        return showing
    normalizer = showing.normalizer if mode in _GROUPED else None
    return replace(showing, **{**_NONE, **MODES[mode], "normalizer": normalizer})
