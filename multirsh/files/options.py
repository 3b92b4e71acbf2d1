"""How files are copied: values only."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from multirsh.arguments import check_fields
from multirsh.errors import UsageError


class Links(enum.StrEnum):
    """What to do with symbolic links in folders. A source that is itself a link is always followed."""

    KEEP = "keep"
    """Create the link."""
    FOLLOW = "follow"
    """Copy what the link leads to."""
    SKIP = "skip"


class Via(enum.StrEnum):
    """The protocol that carries the files."""

    AUTO = "auto"
    """SFTP, or scp on hosts without it."""
    SFTP = "sftp"
    SCP = "scp"


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOptions:
    """How a push or a pull copies.

    Attributes:
        recursive: Whether to copy folders.
        preserve: Whether to preserve modes and times.
        links: What to do with links in folders. ``None`` keeps them, or follows them if only scp can pull.
        update: Whether to skip files that have the same size and modification time at both ends. It preserves
            times, too, for the next copy.
        partial: Whether to keep what an interrupted copy leaves, and to resume from it next time.
        inplace: Whether to write to a file itself, if no temporary file can be renamed to it.
        parents: Whether pulled files keep their whole path on the host.
        via: The protocol.

    Raises:
        UsageError: Options contradict each other.
    """

    recursive: bool = False
    preserve: bool = False
    links: Links | None = None
    update: bool = False
    partial: bool = False
    inplace: bool = False
    parents: bool = False
    via: Via = Via.AUTO

    def describe(self) -> list[str]:
        """Return what determines the resulting files, for the journal; the protocol does not."""
        links = [] if self.links is None else [f"links {self.links}"]
        flags = {
            "recursive": self.recursive,
            "preserve": self.preserve,
            "in place": self.inplace,
            "parents": self.parents,
        }
        return [name for name, is_meant in flags.items() if is_meant] + links

    def __post_init__(self) -> None:
        check_fields(self)
        if self.inplace and self.partial:
            raise UsageError("--inplace and --partial exclude each other", hint="leave one of them out")
        if self.via is Via.SCP:
            for name, is_meant in (("update", self.update), ("partial", self.partial)):
                if is_meant:
                    raise UsageError(f"scp has no --{name}", hint="leave --via out, or give --via sftp")

    @property
    def keeps_times(self) -> bool:
        """Whether modification times are set."""
        return self.preserve or self.update
