"""``--report FILE.html``: looked at before the run, lest one is lost for it; written whole, or not at all.

The page is written beside its place and put there when it is whole, so that a
browser never opens half of one, and one of an earlier run is kept until then.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from multirsh.errors import UsageError
from multirsh.events import Event, RunStarted
from multirsh.output.normalize import Normalizer
from multirsh.output.store import USUAL_MEMORY
from multirsh.report import Report
from multirsh.shared_folders import check_owner

_HINT: Final = "name a file in a directory that can be written to, such as report.html"
_USUAL_MODE: Final = 0o666
_MOST_LINKS: Final = 40
"""As the kernel (path_resolution(7))."""


class ReportFile:
    """The HTML report of a run, and the file that it is written to.

    Args:
        path: The file.
        began: When the run began; ``None`` if it begins with the next event.
        notes: Further notes for the reader.
        memory: Bytes of output to keep in memory.
        normalizer: What is ignored when outputs are compared; ``None`` to compare everything.

    Raises:
        UsageError: The file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        began: datetime | None = None,
        notes: Sequence[str] = (),
        memory: int = USUAL_MEMORY,
        normalizer: Normalizer | None = None,
    ) -> None:
        self._path = _writable(path)
        self._began = began
        self._notes = notes
        self._report = Report(memory=memory, normalizer=normalizer)

    @property
    def has_begun(self) -> bool:
        """Whether there is a run to be shown."""
        return self._report.has_begun

    def feed(self, event: Event) -> None:
        """Take the run's next event."""
        if self._began is None and isinstance(event, RunStarted):
            self._began = datetime.now(UTC)
        self._report.feed(event)

    def save(self) -> str | None:
        """Write the page, of as much of the run as there was; blocks.

        Returns:
            Why it could not be written, in a line for people; else ``None``. Of a run that never began there
            is no page.
        """
        try:
            if self._report.has_begun:
                self._report.finish()
                _replace(self._path, self._report.html(began=self._began, notes=self._notes))
        except OSError as error:
            return f"multirsh: the report cannot be written to {self._path}: {error.strerror}"
        finally:
            self._report.close()
        return None


def _writable(path: Path) -> Path:
    """Return the file that ``path`` leads to, after a check that it can probably be written.

    Raises:
        UsageError: It cannot.
    """
    if str(path) == "-":
        raise UsageError("a report is a file of its own, and - is stdout", hint=_HINT)
    try:
        # What a link leads to is replaced, and not the link.
        real = _followed(path)
        if real.exists() and not real.is_file():
            raise _refused(path, "that is no regular file")
        if real.exists() and not os.access(real, os.W_OK):
            raise _refused(path, "permission denied")
        descriptor, name = _beside(real)
    except OSError as error:
        raise _refused(path, error.strerror) from None
    os.close(descriptor)
    Path(name).unlink()
    return real


def _followed(path: Path) -> Path:
    """What ``path`` leads to, by links that may be followed.

    Raises:
        OSError: Another user has left a link there; or links lead in a circle.
    """
    for _ in range(_MOST_LINKS):
        path = Path(os.path.realpath(path.parent), path.name)
        if not path.is_symlink():
            return path
        check_owner(path.lstat(), path.parent.stat())
        path = path.parent / path.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _refused(path: Path, why: str | None) -> UsageError:
    return UsageError(f"the report cannot be written to {path}: {why}", hint=_HINT)


def _replace(path: Path, pieces: Iterable[str]) -> None:
    """Put a file of ``pieces`` in the place of ``path``, or leave everything as it was."""
    descriptor, name = _beside(path)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.writelines(pieces)
            file.flush()
            os.fchmod(descriptor, _mode(path))
            os.fsync(descriptor)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _beside(path: Path) -> tuple[int, str]:
    return tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)


def _mode(path: Path) -> int:
    """The mode of the user's file that is replaced; of a new one, what the user's umask leaves."""
    with suppress(FileNotFoundError):
        found = path.stat()
        if found.st_uid == os.geteuid():
            return found.st_mode & 0o777
    mask = os.umask(0o077)
    os.umask(mask)
    return _USUAL_MODE & ~mask
