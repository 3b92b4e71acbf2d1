"""How files are to be copied: values only."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from multirsh.arguments import check_fields
from multirsh.errors import UsageError


class Links(enum.StrEnum):
    """What becomes of symbolic links that are found in folders; a source that is named is always followed."""

    KEEP = "keep"
    """A link is made."""
    FOLLOW = "follow"
    """What it leads to is copied."""
    SKIP = "skip"


class Via(enum.StrEnum):
    """What carries the files."""

    AUTO = "auto"
    """SFTP, and scp where there is none."""
    SFTP = "sftp"
    SCP = "scp"


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOptions:
    """How a push or a pull copies.

    Attributes:
        recursive: Whether folders are copied.
        preserve: Whether modes and times are kept.
        links: What becomes of links in folders; ``None`` keeps them, and follows them where only scp can
            pull.
        update: Whether a file is left out that has the same size and modification time at both ends; times
            are kept then, for the next one.
        partial: Whether what a copy that was cut off has left is kept, and continued by the next.
        via: What carries them.

    Raises:
        UsageError: Options that cannot be meant together.
    """

    recursive: bool = False
    preserve: bool = False
    links: Links | None = None
    update: bool = False
    partial: bool = False
    via: Via = Via.AUTO

    def told(self) -> list[str]:
        """What of it decides which files are there afterwards, and how: not the way, which may be another."""
        links = [] if self.links is None else [f"links {self.links}"]
        flags = {"recursive": self.recursive, "preserve": self.preserve}
        return [name for name, is_meant in flags.items() if is_meant] + links

    def __post_init__(self) -> None:
        check_fields(self)
        if self.via is Via.SCP:
            for name, is_meant in (("update", self.update), ("partial", self.partial)):
                if is_meant:
                    raise UsageError(f"scp has no --{name}", hint="leave --via out, or say --via sftp")

    @property
    def keeps_times(self) -> bool:
        """Whether modification times are set."""
        return self.preserve or self.update
