"""What the user says of exec for all hosts at once: the command line's options, or the library caller's."""

from __future__ import annotations

from dataclasses import dataclass

from multirsh.arguments import check_fields
from multirsh.model import NO_SETTINGS, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecOptions:
    """exec for the whole fleet.

    Attributes:
        template: The program that reaches a host, and its arguments (``--exec``), as ``exec.template`` reads
            it; ``None`` where none is given.
        settings: What goes before every host's own settings: ``-l``, ``-p``, ``-J``.
    """

    template: str | None = None
    settings: Settings = NO_SETTINGS

    def __post_init__(self) -> None:
        check_fields(self)
