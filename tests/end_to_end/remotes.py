"""Commands on hosts that are this machine: they say that they run, and wait to be let go."""

from __future__ import annotations

from pathlib import Path

from tests.waiting import wait_until


class Remotes:
    """Leaves a mark for each command that runs: its process's number.

    Attributes:
        folder: Where; the commands name it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._marks = folder / "marks"
        self._marks.mkdir()
        self._go = folder / "go"

    def marking(self, then: str = "exec sleep 60") -> str:
        """A command that leaves its mark, and then runs ``then``."""
        return f"touch {self._marks}/$$; {then}"

    @property
    def waiting(self) -> str:
        """A command that leaves its mark, and ends when it is let go."""
        return self.marking(f"until test -e {self._go}; do sleep 0.02; done; echo done")

    def let_go(self) -> None:
        """Let them end."""
        self._go.touch()

    def wait_for(self, count: int) -> None:
        """Wait until so many have begun."""
        wait_until(lambda: len(self.pids) >= count, what=f"{count} commands")

    @property
    def pids(self) -> set[int]:
        """Those that have begun."""
        return {int(mark.name) for mark in self._marks.iterdir()}

    @property
    def alive(self) -> set[int]:
        """Those of them that have not ended."""
        return {pid for pid in self.pids if Path(f"/proc/{pid}/stat").exists()}
