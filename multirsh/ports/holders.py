"""Who holds a TCP socket: from its inode to the processes with a descriptor of it.

One pass over ``/proc/PID/fd`` for any number of sockets. What we may not look
into, and what is hidden from us, is told, so that "nobody holds it" is only
said where it is known. Not to be found in any case are sockets that the
kernel holds itself (NFS, for one), that travel in a message between
processes, or whose holder is in a container whose processes are not ours to
see.

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
        pid: As we see it.
        program: The kernel's short name of it, 15 bytes at the most (``/proc/PID/comm``).
        argv: Its command line, as it may have changed it; empty where there is none to be seen.
        user: The name of the user it acts as, or the number where there is no name; empty where unknown.
    """

    pid: int
    program: str
    argv: tuple[str, ...]
    user: str


@dataclass(frozen=True, slots=True)
class Holders:
    """What one pass over the processes found.

    Attributes:
        by_inode: The processes by the socket's inode, in the order of pids. An inode that no process we
            can see holds is not in it.
        unseen: Processes whose descriptors we may not read: those of others, unless we are root with all
            of root's capabilities (a container's root may not have them).
        are_others_hidden: Whether /proc does not even show all processes (mounted with hidepid), or is
            not there.
    """

    by_inode: Mapping[int, Sequence[Process]]
    unseen: int
    are_others_hidden: bool

    @property
    def is_complete(self) -> bool:
        """Whether every process was looked into: then what has no holder here has none."""
        return not self.unseen and not self.are_others_hidden


def find_holders(inodes: Collection[int], proc: Path = PROC) -> Holders:
    """Look for the processes that hold these sockets.

    Args:
        inodes: Of the sockets, as ``TcpSocket.inode`` has them; 0, which is nobody's, is passed over.
        proc: Where procfs is mounted.
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
    """Where a process's descriptors lead; those that close meanwhile, and the process that ends, are none.

    Raises:
        PermissionError: They are not ours to see.
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
    """Name a process; one that ends meanwhile keeps its number."""
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
    """The effective user of ``/proc/PID/status``: ``Uid:`` real, effective, saved, file system."""
    for line in status.splitlines():
        if line.startswith("Uid:"):
            uid = int(line.split()[2])
            try:
                return pwd.getpwuid(uid).pw_name
            except KeyError:
                return str(uid)
    return ""
