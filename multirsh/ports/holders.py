"""Finds the processes that hold TCP sockets, by the inodes of the sockets.

One pass over ``/proc/PID/fd`` serves any number of sockets. The result says
which processes could not be read and whether others are hidden, so a socket is
only called unheld if that is certain. Three kinds of sockets are never found:
those that the kernel holds itself (NFS, for one), those in a message between
processes, and those of processes in a container that is not visible from here.

Sources: proc(5) (``/proc/PID/fd``, ``hidepid``), net/ipv4/inet_diag.c.
"""

from __future__ import annotations

import pwd
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from multirsh.linux import PROC


@dataclass(frozen=True, slots=True)
class Process:
    """A process that holds a socket.

    Attributes:
        pid: The process id in this process's namespace.
        program: The kernel's short name of the program, 15 bytes at most (``/proc/PID/comm``).
        argv: The command line, which the process may have changed; empty if it cannot be read.
        user: The name of its effective user, or the number if there is no name; empty if it is unknown.
    """

    pid: int
    program: str
    argv: tuple[str, ...]
    user: str


@dataclass(frozen=True, slots=True)
class Holders:
    """The result of one pass over the processes.

    Attributes:
        by_inode: The processes by the inode of the socket, in the order of their ids. An inode that no
            visible process holds is absent.
        unseen: The number of processes whose descriptors this user may not read. Only root with all its
            capabilities may read those of other users; root of a container may lack them.
        are_others_hidden: Whether /proc does not show all processes (it is mounted with hidepid), or is
            absent.
    """

    by_inode: Mapping[int, Sequence[Process]]
    unseen: int
    are_others_hidden: bool

    @property
    def is_complete(self) -> bool:
        """Whether every process was read: if so, a socket without a holder here has none."""
        return not self.unseen and not self.are_others_hidden


def find_holders(inodes: Collection[int], proc: Path = PROC) -> Holders:
    """Find the processes that hold some sockets.

    Args:
        inodes: The inodes of the sockets, as in ``TcpSocket.inode``; 0, which means no process, is ignored.
        proc: The mount point of procfs.
    """
    links = {f"socket:[{inode}]": inode for inode in inodes if inode}
    found: dict[int, list[Process]] = {}
    unseen = 0
    pids = sorted(_pids(proc))
    for pid in pids if links else ():
        try:
            held = {links[link] for link in _links(proc / str(pid) / "fd") if link in links}
        except PermissionError:
            unseen += 1
            continue
        if held:
            process = _describe(proc, pid)
            for inode in held:
                found.setdefault(inode, []).append(process)
    return Holders(found, unseen, are_others_hidden=1 not in pids)


def _pids(proc: Path) -> Iterator[int]:
    try:
        names = [entry.name for entry in proc.iterdir()]
    except OSError:
        return
    yield from (int(name) for name in names if name.isdecimal())


def _links(folder: Path) -> Iterable[str]:
    """Yield the targets of a process's descriptors, without those that are closed meanwhile.

    Raises:
        PermissionError: This user may not read them.
    """
    try:
        descriptors = list(folder.iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return
    for descriptor in descriptors:
        try:
            yield str(descriptor.readlink())
        except (FileNotFoundError, ProcessLookupError):
            continue


def _describe(proc: Path, pid: int) -> Process:
    """Describe a process; of one that ends meanwhile, only the id is known."""
    folder = proc / str(pid)
    words = _read(folder / "cmdline").split("\0")
    return Process(
        pid=pid,
        program=_read(folder / "comm").rstrip("\n"),
        argv=tuple(words[:-1] if words[-1] == "" else words),
        user=_user(_read(folder / "status")),
    )


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _user(status: str) -> str:
    """Return the effective user, the second of four in the line ``Uid:`` of ``/proc/PID/status``."""
    for line in status.splitlines():
        if line.startswith("Uid:"):
            uid = int(line.split()[2])
            try:
                return pwd.getpwuid(uid).pw_name
            except KeyError:
                return str(uid)
    return ""
