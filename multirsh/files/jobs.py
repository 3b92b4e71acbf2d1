"""What a whole run copies: checked before anything connects, then copied host by host."""

from __future__ import annotations

import os
import shlex
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from multirsh.arguments import check_call
from multirsh.errors import UsageError
from multirsh.files.access import FileAccess, RunAs
from multirsh.files.concurrency import ByteLimiter, DiskThreads
from multirsh.files.destination import DestinationDir, HostDestination
from multirsh.files.host_shell import AclKeeper, HostShell
from multirsh.files.options import CopyOptions
from multirsh.files.paths import base_name, expand_braces, remote_path, whole_parts
from multirsh.files.results import CopyObserver, CopyProgress, CopyTally
from multirsh.files.scp.pull import ScpPull
from multirsh.files.scp.push import ScpPush
from multirsh.files.sftp.client import SftpClient, open_sftp
from multirsh.files.sftp.pull import SftpPull
from multirsh.files.sftp.push import SftpPush
from multirsh.files.sources import BlockCache, read_sources
from multirsh.model import Exited, Host, Outcome
from multirsh.names import file_name
from multirsh.transports.base import Connection

HostCopy: TypeAlias = Callable[[Connection, CopyObserver], Awaitable[Outcome]]
"""Copies the files of one host, over an open connection."""

SUCCESS: Final = Exited(0)

FilePath: TypeAlias = str | bytes | os.PathLike[str]


class CopyJob(Protocol):
    """A push or a pull, for any number of hosts."""

    @property
    def title(self) -> str:
        """The copy as a command."""

    @property
    def options(self) -> CopyOptions:
        """How to copy."""

    @property
    def warnings(self) -> Sequence[str]:
        """Warnings for people, to be shown before the copy begins."""

    @property
    def total(self) -> int | None:
        """Bytes to copy to or from each host; ``None`` if that is not known."""

    @property
    def progress(self) -> CopyProgress:
        """The progress of all hosts."""

    def copying(self, host: Host, run_as: RunAs) -> HostCopy:
        """Return what copies the files of a host."""


class PushJob:
    """A copy of local files to every host."""

    def __init__(
        self, sources: Sequence[FilePath], destination: FilePath, options: CopyOptions | None = None
    ) -> None:
        """Find everything that is to be copied.

        Args:
            sources: Local files and folders.
            destination: A path on the hosts; relative to the home folder if it is not absolute.
            options: How to copy.

        Raises:
            UsageError: There are no sources, one cannot be read, or the destination is not valid.
        """
        check_call(PushJob.__init__, locals())
        self.options = options or CopyOptions()
        if not sources:
            raise UsageError("there is nothing to push", hint="give files, then their destination")
        self._tree = read_sources([os.fsencode(source) for source in sources], self.options)
        self._destination = remote_path(os.fsencode(destination))
        self._disk = DiskThreads()
        self._blocks = BlockCache(self._disk)
        self.title = _title("push", [*sources, destination])
        self.warnings = self._tree.warnings
        self.total: int | None = self._tree.size
        self.progress = CopyProgress()

    def copying(self, host: Host, run_as: RunAs) -> HostCopy:
        """Return what copies the files to a host."""

        def by_sftp(sftp: SftpClient, shell: HostShell, tally: CopyTally) -> SftpPush:
            return SftpPush(
                host=host.name,
                sftp=sftp,
                tree=self._tree,
                destination=self._destination,
                options=self.options,
                blocks=self._blocks,
                tally=tally,
                in_flight=ByteLimiter(),
                shell=shell,
                acls=AclKeeper(shell),
            )

        def by_scp(access: FileAccess, tally: CopyTally) -> ScpPush:
            return ScpPush(
                access=access,
                tree=self._tree,
                destination=self._destination,
                blocks=self._blocks,
                tally=tally,
            )

        return _HostCopier(host, run_as, self.options, self._disk, self.progress).by(by_sftp, by_scp)


class PullJob:
    """A copy of files of every host, each host's into a folder of its own."""

    def __init__(
        self, sources: Sequence[FilePath], destination: FilePath, options: CopyOptions | None = None
    ) -> None:
        """Check what can be checked locally, and create the destination.

        Args:
            sources: Paths and patterns on the hosts; relative to the home folder if they are not absolute.
            destination: A local folder; it is created if it does not exist.
            options: How to copy.

        Raises:
            UsageError: There are no sources, or the destination is not a folder that can be written to.
        """
        check_call(PullJob.__init__, locals())
        self.options = options or CopyOptions()
        if not sources:
            raise UsageError("there is nothing to pull", hint="give files of the hosts, then a folder here")
        named = [each for source in sources for each in expand_braces(os.fsencode(source))]
        self._sources = [remote_path(source) for source in named]
        for source in self._sources:
            base_name(source)  # raises for a source without a name
            if self.options.parents:
                whole_parts(source)  # raises for a source that leads out of the folder
        self._destination = DestinationDir(_make_folder(destination))
        self._disk = DiskThreads()
        self.title = _title("pull", [*sources, destination])
        self.warnings: Sequence[str] = ()
        self.total: int | None = None
        self.progress = CopyProgress()

    def copying(self, host: Host, run_as: RunAs) -> HostCopy:
        """Return what copies the files of a host."""
        place = HostDestination(self._destination, self._disk, (file_name(host.name).encode(),))

        def by_sftp(sftp: SftpClient, shell: HostShell, tally: CopyTally) -> SftpPull:
            return SftpPull(
                host=host.name,
                sftp=sftp,
                sources=self._sources,
                place=place,
                options=self.options,
                tally=tally,
                in_flight=ByteLimiter(),
                shell=shell,
            )

        def by_scp(access: FileAccess, tally: CopyTally) -> ScpPull:
            return ScpPull(access=access, sources=self._sources, place=place, tally=tally)

        return _HostCopier(host, run_as, self.options, self._disk, self.progress).by(by_sftp, by_scp)


class _ProtocolCopy(Protocol):
    """The copy of one host by SFTP or scp."""

    async def copy(self) -> None:
        """Copy everything."""


@dataclass(frozen=True, slots=True)
class _HostCopier:
    """What copies to and from a host have in common."""

    host: Host
    run_as: RunAs
    options: CopyOptions
    disk: DiskThreads
    progress: CopyProgress

    def by(
        self,
        by_sftp: Callable[[SftpClient, HostShell, CopyTally], _ProtocolCopy],
        by_scp: Callable[[FileAccess, CopyTally], _ProtocolCopy],
    ) -> HostCopy:
        """Return what copies by the protocol that the host has."""

        async def copy(connection: Connection, observer: CopyObserver) -> Outcome:
            name = self.host.name
            access = FileAccess(name, connection, self.options, self.run_as)
            with self.disk.held():
                async with open_sftp(access) as sftp:
                    tally = CopyTally(name, observer, "scp" if sftp is None else "sftp", self.progress)
                    if sftp is None:
                        await by_scp(access, tally).copy()
                    else:
                        shell = HostShell()
                        async with shell.open(access.shell()):
                            await by_sftp(sftp, shell, tally).copy()
            failure = tally.failure()
            if failure is not None:
                raise failure
            return SUCCESS

        return copy


def _title(name: str, words: Sequence[FilePath]) -> str:
    return shlex.join([name, *(os.fsdecode(word) for word in words)])


def _make_folder(folder: FilePath) -> bytes:
    raw = os.path.abspath(os.fsencode(folder))  # noqa: PTH100 - unlike Path, it leaves links as they are
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
