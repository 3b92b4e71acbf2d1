"""``multirsh push`` and ``multirsh pull``: copy files to, and from, the selected hosts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from multirsh.cli import options
from multirsh.cli.invocation import Invocation
from multirsh.cli.syntax import HELP_NAMES, RunCommand
from multirsh.commands.command import Command
from multirsh.errors import UsageError
from multirsh.files.options import CopyOptions, Links, Via

if TYPE_CHECKING:
    from multirsh.files.jobs import CopyJob

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

FEWEST_WORDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Copying:
    """How to copy; the fields are the options."""

    recursive: bool
    preserve: bool
    links: str | None
    update: bool
    partial: bool
    inplace: bool
    via: str
    parents: bool = False

    def options(self) -> CopyOptions:
        """As the engine wants them.

        Raises:
            UsageError: Options that cannot be meant together.
        """
        return CopyOptions(
            recursive=self.recursive,
            preserve=self.preserve,
            links=None if self.links is None else Links(self.links),
            update=self.update,
            partial=self.partial,
            inplace=self.inplace,
            parents=self.parents,
            via=Via(self.via),
        )


_of_copying = partial(options.option, section="Copying", configurable=False)

_COPYING: Final = (
    _of_copying("-r", "--recursive", is_flag=True, help="Copy directories and everything in them."),
    _of_copying("-p", "--preserve", is_flag=True, help="Preserve modes and times."),
    _of_copying(
        "--links",
        type=click.Choice([links.value for links in Links]),
        metavar="HOW",
        help="Symbolic links in directories: keep, follow or skip them.  [default: keep]",
    ),
    _of_copying(
        "--update",
        is_flag=True,
        help="Skip files of equal size and modification time; implies preserving times.",
    ),
    _of_copying(
        "--partial",
        is_flag=True,
        help="Keep what an interrupted copy has transferred, and continue from there the next time.",
    ),
    _of_copying(
        "--inplace",
        is_flag=True,
        help="Write to the destination file itself, if no file can be renamed to it; a copy that fails "
        "leaves it incomplete.",
    ),
    _of_copying(
        "--via",
        type=click.Choice([via.value for via in Via]),
        default=Via.AUTO.value,
        metavar="HOW",
        help="sftp, scp, or auto: SFTP, or scp if a host has no SFTP.  [default: auto]",
    ),
)


_PARENTS: Final = _of_copying(
    "--parents", is_flag=True, help="Keep the whole path of each file on the host, below DEST/HOST."
)


def _common(command: Decorated) -> Decorated:
    """The options of both."""
    for decorator in (
        options.CLOSING,
        options.AGAIN,
        options.RECORD,
        options.COPY_OUTPUT,
        options.COURSE,
        *reversed(_COPYING),
        options.RUNNING,
        options.COPY_CONNECTION,
        options.CHOICE,
        options.FILES,
    ):
        command = decorator(command)
    return command


@click.command(
    "push",
    cls=RunCommand,
    short_help="Copy files to many hosts.",
    context_settings={"allow_interspersed_args": False, "help_option_names": HELP_NAMES},
    options_metavar="[OPTIONS]",
)
@_common
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="SRC... DEST")
def push(*, words: tuple[str, ...], **parameters: Any) -> int:
    """Copy files and directories to many hosts at once.

    DEST is a path on the hosts, relative to the home directory unless it is absolute. If it is a directory,
    the files are copied into it; otherwise it is the new name of the only SRC. SRC/. stands for the contents
    of SRC. A file appears under its name only when it is complete.
    """
    from multirsh.files.jobs import PushJob  # noqa: PLC0415 - not needed for --help

    sources, destination = _parted(words, "push")
    how = options.take(Copying, parameters).options()
    return _run(lambda: PushJob(sources, destination, how), parameters)


@click.command(
    "pull",
    cls=RunCommand,
    short_help="Copy files from many hosts.",
    context_settings={"allow_interspersed_args": False, "help_option_names": HELP_NAMES},
    options_metavar="[OPTIONS]",
)
@_common
@_PARENTS
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="SRC... DEST")
def pull(*, words: tuple[str, ...], **parameters: Any) -> int:
    """Copy files and directories from many hosts, those of each host into DEST/HOST.

    SRC is a path on the hosts, relative to the home directory unless it is absolute, or a pattern
    ('/var/log/*.log', '/etc/{hosts,passwd}', quoted to protect it from your shell). DEST is a local
    directory; it is created if it does not exist.
    """
    from multirsh.files.jobs import PullJob  # noqa: PLC0415 - not needed for --help

    sources, destination = _parted(words, "pull")
    how = options.take(Copying, parameters).options()
    return _run(lambda: PullJob(sources, destination, how), parameters)


def _parted(words: Sequence[str], name: str) -> tuple[Sequence[str], str]:
    if len(words) < FEWEST_WORDS:
        raise UsageError(
            f"{name} requires SRC and DEST", hint=f"for example: multirsh {name} -f hosts.yaml SRC DEST"
        )
    return words[:-1], words[-1]


def _run(made: Callable[[], CopyJob], parameters: dict[str, Any]) -> int:
    from multirsh.cli import signals  # noqa: PLC0415 - not needed for --help

    invocation = Invocation.take(parameters)
    invocation.check_hosts_named()
    hosts = invocation.hosts()
    job = made()
    cli_run = invocation.make_run(Command(job.title), hosts, job)
    return signals.run(cli_run.run)
