"""The output modes of the shell, by the names of the command line's options. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from multirsh.cli.options import DisplayOptions
from multirsh.errors import UsageError, did_you_mean

LIVE: Final = "live"
GATHER: Final = "gather"

MODES: Final[dict[str, dict[str, Any]]] = {
    LIVE: {},
    GATHER: {"gather": True},
    "gather-all": {"gather_all": True},
    "diff": {"differences": True},
    "blocks": {"blocks": True},
    "json": {"as_json": True},
}
"""The name of each mode, and the options that select it."""

_NO_MODE: Final[dict[str, Any]] = {name: False for options in MODES.values() for name in options}

_GROUPED: Final = frozenset({GATHER, "gather-all", "diff"})


def mode_of(display: DisplayOptions) -> str:
    """Return the mode that the options select."""
    if display.differences:
        return "diff"
    if display.blocks:
        return "blocks"
    if display.gather_all:
        return "gather-all"
    if display.gather:
        return GATHER
    return "json" if display.as_json else LIVE


def next_mode(word: str, mode: str) -> str:
    """Return the mode that ``word`` selects.

    Args:
        word: The name of a mode, or ``=``, which switches between gathered and live output.
        mode: The current mode.

    Raises:
        UsageError: There is no such mode.
    """
    if word == "=":
        return GATHER if mode == LIVE else LIVE
    if word not in MODES:
        raise UsageError(
            f"there is no mode {word}", hint=did_you_mean(word, MODES) or f"the modes are {', '.join(MODES)}"
        )
    return word


def display_in(mode: str, display: DisplayOptions) -> DisplayOptions:
    """Return the options with the mode replaced; the others stay as they are."""
    if mode == mode_of(display):  # options that were combined, such as -B --diff, stay combined
        return display
    normalizer = display.normalizer if mode in _GROUPED else None
    return replace(display, **{**_NO_MODE, **MODES[mode], "normalizer": normalizer})
