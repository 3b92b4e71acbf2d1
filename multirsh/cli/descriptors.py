"""Standard input, output and error are open, whatever we were started with; and writing to them by hand.

A program may be started with any of them closed (``<&-``, ``>&-``). The next
file or socket would then become it, and a remote would read what is printed.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
from typing import Final

STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2

_INSTEAD: Final = {
    # Nothing to read; and what is written fails, as it would if nobody had stepped in.
    STDIN: os.O_RDONLY,
    STDOUT: os.O_RDONLY,
    STDERR: os.O_WRONLY,
}


class ReaderGone(Exception):  # noqa: N818 - not an error: ``| head`` has what it wants
    """The reader of our standard output went away."""


def fill_closed() -> None:
    """Open /dev/null in the place of what is closed. Call it before anything else is opened."""
    for descriptor, mode in _INSTEAD.items():
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, mode)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
            os.set_inheritable(descriptor, True)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of ``data``. Blocks, though the descriptor may be non-blocking (``O_NONBLOCK``).

    Raises:
        BrokenPipeError: Its reader went away.
        OSError: It cannot be written for another reason.
    """
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            # Some other program that has it open made it so, for itself, and it is not ours to change.
            poll = select.poll()  # select() cannot look at descriptors above 1,023
            poll.register(descriptor, select.POLLOUT)
            poll.poll()


def print_out(text: str | bytes) -> None:
    """Write to standard output, by hand as everything there is. Blocks.

    Raises:
        ReaderGone: Nobody reads it any more.
        OSError: It cannot be written for another reason; ``filename`` says where.
    """
    try:
        write_all(STDOUT, text.encode() if isinstance(text, str) else text)
    except BrokenPipeError as error:
        raise ReaderGone from error
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from error


def tell(message: str) -> None:
    """Print a line for people on stderr: the one way for all that a run's ``Printer`` does not say. Blocks.

    Args:
        message: It may hold anything: words of the command line, names of files, a remote's words. What has
            power over a terminal is made visible.
    """
    from multirsh.output.escape import escape_text  # noqa: PLC0415 - not needed for --version

    with contextlib.suppress(OSError):  # closed, or on a full disk: there is nowhere else to say so
        write_all(STDERR, f"{escape_text(message)}\n".encode())


def abandon_stdout() -> None:
    """Forget what waits in Python's own buffer: it could not be written; at exit it would be tried again."""
    if sys.stdout is not None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, STDOUT)
        os.close(nowhere)
