"""What a whole run copies: looked at and checked before anything connects, then done host by host."""

from __future__ import annotations

import os
import shlex
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from multirsh.arguments import check_call
from multirsh.errors import UsageError
from multirsh.files import globs
from multirsh.files.access import FileAccess, RunAs
from multirsh.files.acls import Acls
from multirsh.files.blocks import Blocks
from multirsh.files.disk import Disk
from multirsh.files.entries import Teller
from multirsh.files.host_shell import HostShell
from multirsh.files.landing import Landing
from multirsh.files.lanes import Flight
from multirsh.files.names import base_name, remote_path, whole_parts
from multirsh.files.options import CopyOptions
from multirsh.files.pull import Place, SftpPull
from multirsh.files.push import SftpPush
from multirsh.files.scp.pull import ScpPull
from multirsh.files.scp.push import ScpPush
from multirsh.files.sftp.client import Sftp
from multirsh.files.tally import HostTally, Progress
from multirsh.files.tree import look
from multirsh.model import Exited, Host, Outcome
from multirsh.names import file_name
from multirsh.transports.base import Connection

Copying: TypeAlias = Callable[[Connection, Teller], Awaitable[Outcome]]
"""One host's copy, once we are in."""

DONE: Final = Exited(0)

Path: TypeAlias = str | bytes | os.PathLike[str]


class CopyJob(Protocol):
    """A push or a pull, for any number of hosts."""

    @property
    def title(self) -> str:
        """As a command."""

    @property
    def options(self) -> CopyOptions:
        """How."""

    @property
    def left_out(self) -> Sequence[str]:
        """Warnings for people, before it begins."""

    @property
    def total(self) -> int | None:
        """Bytes that each host is to get; ``None`` if nobody knows."""

    @property
    def progress(self) -> Progress:
        """How far all hosts are."""

    def copying(self, host: Host, run_as: RunAs) -> Copying:
        """What is to be done on a host."""


class PushJob:
    """Files of this machine, to every host."""

    def __init__(
        self, sources: Sequence[Path], destination: Path, options: CopyOptions | None = None
    ) -> None:
        """Look at all that is to be copied.

        Args:
            sources: Files and folders here.
            destination: On the hosts; from the home folder, if it is not absolute.
            options: How.

        Raises:
            UsageError: There is nothing, it cannot be read, or the destination cannot be meant.
        """
        check_call(PushJob.__init__, locals())
        self.options = options or CopyOptions()
        if not sources:
            raise UsageError("there is nothing to push", hint="give files, then where they go to")
        self._tree = look([os.fsencode(source) for source in sources], self.options)
        self._destination = remote_path(os.fsencode(destination))
        self._disk = Disk()
        self._blocks = Blocks(self._disk)
        self.title = _title("push", [*sources, destination])
        self.left_out = self._tree.left_out
        self.total: int | None = self._tree.size
        self.progress = Progress()

    @property
    def block_reads(self) -> int:
        """How often a block was read from the disk."""
        return self._blocks.reads

    def copying(self, host: Host, run_as: RunAs) -> Copying:
        """What is to be done on a host."""

        def by_sftp(sftp: Sftp, shell: HostShell, tally: HostTally) -> SftpPush:
            return SftpPush(
                host=host.name,
                sftp=sftp,
                tree=self._tree,
                destination=self._destination,
                options=self.options,
                blocks=self._blocks,
                tally=tally,
                flight=Flight(),
                shell=shell,
                acls=Acls(shell),
            )

        def by_scp(access: FileAccess, tally: HostTally) -> ScpPush:
            return ScpPush(
                access=access,
                tree=self._tree,
                destination=self._destination,
                blocks=self._blocks,
                tally=tally,
            )

        return _Way(host, run_as, self.options, self._disk, self.progress).taken(by_sftp, by_scp)


class PullJob:
    """Files of every host, each host's below a folder of its own."""

    def __init__(
        self, sources: Sequence[Path], destination: Path, options: CopyOptions | None = None
    ) -> None:
        """Check what can be checked here, and make the folder.

        Args:
            sources: Paths and patterns on the hosts; from the home folder, if they are not absolute.
            destination: A folder here; it is made if it is not there.
            options: How.

        Raises:
            UsageError: There is nothing to pull, or the folder cannot be written to.
        """
        check_call(PullJob.__init__, locals())
        self.options = options or CopyOptions()
        if not sources:
            raise UsageError("there is nothing to pull", hint="give files of the hosts, then a folder here")
        named = [each for source in sources for each in globs.braces(os.fsencode(source))]
        self._sources = [remote_path(source) for source in named]
        for source in self._sources:
            base_name(source)  # raises for what has no name
            if self.options.parents:
                whole_parts(source)  # raises for what leads elsewhere
        self._landing = Landing(_made(destination))
        self._disk = Disk()
        self.title = _title("pull", [*sources, destination])
        self.left_out: Sequence[str] = ()
        self.total: int | None = None
        self.progress = Progress()

    def copying(self, host: Host, run_as: RunAs) -> Copying:
        """What is to be done on a host."""
        place = Place(self._landing, self._disk, (file_name(host.name).encode(),))

        def by_sftp(sftp: Sftp, shell: HostShell, tally: HostTally) -> SftpPull:
            return SftpPull(
                host=host.name,
                sftp=sftp,
                sources=self._sources,
                place=place,
                options=self.options,
                tally=tally,
                flight=Flight(),
                shell=shell,
            )

        def by_scp(access: FileAccess, tally: HostTally) -> ScpPull:
            return ScpPull(access=access, sources=self._sources, place=place, tally=tally)

        return _Way(host, run_as, self.options, self._disk, self.progress).taken(by_sftp, by_scp)


class _Copy(Protocol):
    """One host's copy by a protocol."""

    async def copy(self) -> None:
        """Do it."""


@dataclass(frozen=True, slots=True)
class _Way:
    """What the copies to and from a host have in common, whatever is copied."""

    host: Host
    run_as: RunAs
    options: CopyOptions
    disk: Disk
    progress: Progress

    def taken(
        self,
        by_sftp: Callable[[Sftp, HostShell, HostTally], _Copy],
        by_scp: Callable[[FileAccess, HostTally], _Copy],
    ) -> Copying:
        """Copy by the protocol that the host has."""

        async def copy(connection: Connection, teller: Teller) -> Outcome:
            name = self.host.name
            access = FileAccess(name, connection, self.options, self.run_as)
            with self.disk.held():
                async with access.sftp() as sftp:
                    tally = HostTally(name, teller, "scp" if sftp is None else "sftp", self.progress)
                    if sftp is None:
                        await by_scp(access, tally).copy()
                    else:
                        shell = HostShell()
                        async with shell.open(access.shell()):
                            await by_sftp(sftp, shell, tally).copy()
            verdict = tally.verdict()
            if verdict is not None:
                raise verdict
            return DONE

        return copy


def _title(name: str, words: Sequence[Path]) -> str:
    return shlex.join([name, *(os.fsdecode(word) for word in words)])


def _made(folder: Path) -> bytes:
    raw = os.path.abspath(os.fsencode(folder))  # noqa: PTH100 - links are left as they are, unlike by Path
    shown = os.fsdecode(folder)
    try:
        os.makedirs(raw, exist_ok=True)  # noqa: PTH103 - bytes
    except FileExistsError:
        raise UsageError(
            f"{shown} is not a folder", hint="each host's files go into a folder there"
        ) from None
    except OSError as error:
        raise UsageError(f"{shown}: {error.strerror}") from None
    if not os.access(raw, os.W_OK | os.X_OK):
        raise UsageError(f"{shown}: it cannot be written to")
    return raw
