"""Who goes on with a run: one at a time, or its hosts would run their commands twice."""

from __future__ import annotations

import fcntl
import os
import weakref
from pathlib import Path
from typing import Final

from multirsh.errors import UsageError
from multirsh.journal.own_files import open_own, within

CLAIM: Final = ".claim"


class Claim:
    """Keeps others away as long as anybody holds on to it, and the process lives."""

    def __init__(self, descriptor: int) -> None:
        weakref.finalize(self, os.close, descriptor)


def claim(folder: Path, run: str) -> Claim:
    """Be the one who goes on with a run.

    It is told by a lock (flock(2)) on a file beside the record, since a lock on that says that it is written.

    Raises:
        UsageError: Somebody else does already; or nothing can be written there, where a record of what is
            done now is needed, lest it is done once more.
    """
    try:
        descriptor = within(lambda: open_own(folder / f".{run}{CLAIM}", os.O_RDWR | os.O_CREAT))
        claimed = Claim(descriptor)
        within(lambda: fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB))
    except BlockingIOError:
        raise UsageError(
            f"somebody goes on with {run} now", hint="wait for its end, or end it; 'multirsh runs' lists it"
        ) from None
    except OSError as error:
        raise UsageError(
            f"what --resume does cannot be recorded in {folder}: {error.strerror}",
            hint="without a record it would be done once more the next time; --rerun can do without",
        ) from None
    return claimed
