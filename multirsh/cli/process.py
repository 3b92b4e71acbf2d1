"""This process: its standard streams, and what it needs of the machine before it reaches many hosts.

A program may be started with a standard stream that is closed (``<&-``, ``>&-``). The next file or socket
would then take its number, and a remote would read what is printed.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import sys
import threading
from typing import Final

from multirsh import linux
from multirsh.shortage import is_limited, keep_reserve, part_of_room, relieve

STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2

_INSTEAD: Final = {
    # There is nothing to read, and writing fails, as with a closed descriptor.
    STDIN: os.O_RDONLY,
    STDOUT: os.O_RDONLY,
    STDERR: os.O_WRONLY,
}


class ReaderGone(Exception):  # noqa: N818 - not an error: ``| head`` has what it wants
    """The reader of our standard output is gone."""


def fill_closed() -> None:
    """Open /dev/null in place of each closed standard stream. Call this before anything else is opened."""
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
        BrokenPipeError: Its reader is gone.
        OSError: Writing failed for another reason.
    """
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            # Another program that shares the stream has set O_NONBLOCK, and it is not ours to change.
            poll = select.poll()  # select() cannot look at descriptors above 1,023
            poll.register(descriptor, select.POLLOUT)
            poll.poll()


def print_out(text: str | bytes) -> None:
    """Write to standard output, without Python's buffer, as everything does that is written there. Blocks.

    Raises:
        ReaderGone: Its reader is gone.
        OSError: Writing failed for another reason; ``filename`` names the stream.
    """
    try:
        write_all(STDOUT, text.encode() if isinstance(text, str) else text)
    except BrokenPipeError as error:
        raise ReaderGone from error
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from error


def print_err(message: str) -> None:
    """Print a line for people on stderr: every line that does not come from a run's ``Printer``. Blocks.

    Args:
        message: Any text: words of the command line, names of files, a remote's output. Characters that
            control a terminal are made visible.
    """
    from multirsh.output.escape import escape_text  # noqa: PLC0415 - not needed for --version

    with contextlib.suppress(OSError):  # closed, or on a full disk: there is no other place to report it
        write_all(STDERR, f"{escape_text(message)}\n".encode())


def abandon_stdout() -> None:
    """Discard Python's own buffer: it could not be written, and Python would try again at exit."""
    if sys.stdout is not None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, STDOUT)
        os.close(nowhere)


ENOUGH: Final = 1 << 20
"""Descriptors; more than any run needs. Containers may have a limit of 2^30, and programs that we start
(ProxyCommand) inherit ours, and may try to close every number up to it."""


def raise_descriptor_limit() -> None:
    """Raise the soft RLIMIT_NOFILE to the hard one (getrlimit(2)); it is never lowered.

    The shells' usual 1,024 is for programs that use select(2), which cannot go beyond; asyncio's epoll can.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # macOS has a limit of its own below an unlimited hard limit.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


STACK_BYTES: Final = 1024 * 1024
"""The stack of a thread if address space is limited; the default is 8 MiB (pthread_attr_setstacksize(3))."""

OUTPUT_PART: Final = 8
"""Gathered output may use this fraction (1/N) of the remaining address space."""


def save_address_space() -> None:
    """If the address space of this process is limited (``ulimit -v``), let each thread use little of it."""
    if not is_limited():
        return
    threading.stack_size(STACK_BYTES)
    linux.use_one_arena()
    keep_reserve()


def silence_memory_errors() -> None:
    """Print no traceback if memory runs out in a thread, or while an object is deleted."""
    unraisable, in_thread = sys.unraisablehook, threading.excepthook

    def on_unraisable(what: sys.UnraisableHookArgs) -> None:
        relieve() if issubclass(what.exc_type, MemoryError) else unraisable(what)

    def on_thread(what: threading.ExceptHookArgs) -> None:
        relieve() if issubclass(what.exc_type, MemoryError) else in_thread(what)

    sys.unraisablehook, threading.excepthook = on_unraisable, on_thread


def capped_by_memory(output_bytes: int) -> int:
    """Return how many bytes of output may be kept in memory: ``output_bytes``, or less with little memory."""
    return part_of_room(output_bytes, OUTPUT_PART)
