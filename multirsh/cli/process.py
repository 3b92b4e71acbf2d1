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


def print_err(message: str) -> None:
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


ENOUGH: Final = 1 << 20
"""More than any run needs. Where containers have a limit of 2^30, programs that we start (ProxyCommand) may
still try to close each number up to it, and inherit the limit."""


def raise_descriptor_limit() -> None:
    """Raise the soft RLIMIT_NOFILE to the hard one (getrlimit(2)); it is never lowered.

    The shells' usual 1,024 is for programs that use select(2), which cannot go beyond; asyncio's epoll can.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # macOS has a bound of its own below an unlimited hard limit: then what there is must do.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


STACK_BYTES: Final = 1024 * 1024
"""A thread's, where addresses are few; they are 8 MiB as a rule (pthread_attr_setstacksize(3))."""

OUTPUT_PART: Final = 8
"""Output may take one part in so many of the addresses that are left."""


def save_address_space() -> None:
    """Where this process may use only so many addresses (``ulimit -v``), let each thread take few of them."""
    if not is_limited():
        return
    threading.stack_size(STACK_BYTES)
    linux.use_one_arena()
    keep_reserve()


def silence_memory_errors() -> None:
    """Have Python print no traceback where memory runs out in a thread, or while an object is thrown away."""
    unraisable, in_thread = sys.unraisablehook, threading.excepthook

    def on_unraisable(what: sys.UnraisableHookArgs) -> None:
        relieve() if issubclass(what.exc_type, MemoryError) else unraisable(what)

    def on_thread(what: threading.ExceptHookArgs) -> None:
        relieve() if issubclass(what.exc_type, MemoryError) else in_thread(what)

    sys.unraisablehook, threading.excepthook = on_unraisable, on_thread


def capped_by_memory(output_bytes: int) -> int:
    """How much output may be held in memory: ``output_bytes``, or less where addresses are few."""
    return part_of_room(output_bytes, OUTPUT_PART)
