"""Reads ssh_config from its files, once.

Source: ssh_config(5), ``Include``; which files are read and who may own them
is from OpenSSH 9.2 ssh.c and readconf.c.
"""

from __future__ import annotations

import glob
import os
import pwd
import re
import socket
import stat
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from multirsh.errors import UsageError
from multirsh.transports.ssh.config.blocks import Block, parse_blocks, tilde_home
from multirsh.transports.ssh.config.directives import (
    MISSED,
    STRUCTURE,
    Directive,
    Jump,
    LoginName,
    Place,
    check_keyword,
    ignored_keywords,
    read_line,
    read_lines,
    values_of,
)
from multirsh.transports.ssh.config.evaluation import SshConfig
from multirsh.transports.ssh.config.settings import Local
from multirsh.transports.ssh.patterns import PatternList

SYSTEM_DIRECTORY: Final = "/etc/ssh"
DEEPEST_INCLUDE: Final = 16
"""Maximum depth of ``Include`` (READCONF_MAX_DEPTH of OpenSSH)."""


def local_user() -> Local:
    """Look up the local user and machine.

    Raises:
        UsageError: The user has no entry in the password database.
    """
    uid = os.getuid()
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise UsageError(f"user {uid} is not in the password database") from None
    return Local(
        user=entry.pw_name,
        uid=uid,
        home=entry.pw_dir,
        hostname=socket.gethostname(),
        environ=dict(os.environ),
    )


def run_in_shell(command: str) -> bool:
    """Run a ``Match exec`` command in the user's shell and return whether it exited with 0.

    Its standard input and output are /dev/null; its standard error is not redirected.

    Raises:
        UsageError: It could not be started, or was ended by a signal.
    """
    shell = os.environ.get("SHELL") or "/bin/sh"
    try:
        ended = subprocess.run(  # noqa: S603 - the user's own ssh_config asks for it
            [shell, "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False
        )
    except OSError as error:
        raise UsageError(f"Match exec: {shell} cannot be run: {error.strerror}") from error
    if ended.returncode < 0:
        raise UsageError(f"Match exec: the command was ended by signal {-ended.returncode}")
    return ended.returncode == 0


def read_options(options: Iterable[str], *, ignored: list[str]) -> Iterator[Directive]:
    """Parse the arguments of ``-o``: ``Keyword=value`` or ``Keyword value``.

    Args:
        options: The arguments, in order.
        ignored: The patterns of ``IgnoreUnknown``; extended in place.

    Raises:
        UsageError: One of them is not an option of ssh, its value is invalid, or it contains an invalid user
            or jump host.
    """
    place = Place("-o")
    for option in options:
        directive = read_line(option, place)
        if directive is None:
            raise place.error("an option is Keyword=value")
        if directive.keyword == "ignoreunknown":
            ignored.extend(ignored_keywords(directive))
        elif directive.keyword in STRUCTURE:
            raise place.error(f"{directive.keyword} belongs in a file")
        elif directive.keyword in MISSED:
            raise place.error(f"{directive.keyword} is not supported")
        elif check_keyword(directive, PatternList(ignored)):
            for _, value in values_of(directive):
                if isinstance(value, Jump | LoginName):
                    value.checked()  # it applies to every host, so its errors are reported first
            yield directive


class _Reader:
    """Reads a file and the files that it includes, by the rules for the user's files or the system's."""

    def __init__(
        self, *, local: Local, directory: str, of_user: bool, ignored: list[str], warn: Callable[[str], None]
    ) -> None:
        self._local = local
        self._directory = directory
        self._of_user = of_user
        self._ignored = ignored
        self._warn = warn

    def blocks(self, path: str, text: str, *, depth: int = 0) -> Iterator[Block]:
        """Parse one file's text."""

        def include(directive: Directive) -> Iterator[Block]:
            if depth >= DEEPEST_INCLUDE:
                raise directive.place.error(f"includes go more than {DEEPEST_INCLUDE} deep")
            for word in directive.words:
                for found in self._find(word, directive.place):
                    included = self._text(found, directive.place)
                    if included is not None:
                        yield from self.blocks(found, included, depth=depth + 1)

        yield from parse_blocks(
            read_lines(text, path), include=include, warn=self._warn, ignored=self._ignored
        )

    def _find(self, word: str, place: Place) -> list[str]:
        """Find the files that an ``Include`` argument names; it is not an error if there are none."""
        if word.startswith("~"):
            if not self._of_user:
                raise place.error(f"a system's file cannot include {word!r}")
            home, _, rest = word.partition("/")
            word = f"{self._local.home if home == '~' else tilde_home(home[1:], place)}/{rest}"
        elif not word.startswith("/"):
            word = f"{self._directory}/{word}"
        word = re.sub(r"\\(.)", lambda found: glob.escape(found[1]), word)  # glob(3) takes \* as a literal *
        return sorted(glob.glob(word))  # noqa: PTH207 - Path.glob takes no absolute pattern

    @staticmethod
    def _text(path: str, place: Place) -> str | None:
        try:
            return read_safely(path)
        except IsADirectoryError:
            return None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise place.error(f"{path} cannot be read: {error.strerror}") from error


def read_safely(path: str) -> str:
    """Read a file that only its owner can write, who must be root or the local user.

    Raises:
        UsageError: Other users can write it, or another user owns it.
        OSError: It cannot be read.

    Source: read_config_file_depth() of OpenSSH readconf.c.
    """
    with Path(path).open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        status = os.fstat(file.fileno())
        if status.st_uid not in {0, os.getuid()} or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise UsageError(f"bad owner or permissions on {path}", hint=f"chmod go-w {path}")
        return file.read()


def read_config(
    *,
    file: str | None = None,
    options: Sequence[str] = (),
    local: Local | None = None,
    run: Callable[[str], bool] = run_in_shell,
    system_directory: str = SYSTEM_DIRECTORY,
) -> SshConfig:
    """Read ssh_config as ssh does.

    Args:
        file: ``-F``: a file to read instead of the user's and the system's; ``none`` reads nothing.
        options: The arguments of ``-o``, in order; they take precedence over the files.
        local: The local user and machine; looked up if not given.
        run: Runs the commands of ``Match exec``; see ``SshConfig``.
        system_directory: The directory of the system's ``ssh_config``.

    Returns:
        The configuration; missing files of the user and the system count as empty.

    Raises:
        UsageError: A line is invalid, ``file`` cannot be read, or other users can write the user's
            file.
    """
    local = local_user() if local is None else local
    warnings: list[str] = []
    ignored: list[str] = []
    directives = tuple(read_options(options, ignored=ignored))
    user_directory = f"{local.home}/.ssh"

    def reader(*, of_user: bool) -> _Reader:
        return _Reader(
            local=local,
            directory=user_directory if of_user else system_directory,
            of_user=of_user,
            ignored=ignored,
            warn=warnings.append,
        )

    blocks: list[Block] = []
    if file is None:
        user_file, system_file = f"{user_directory}/config", f"{system_directory}/ssh_config"
        if (text := _optional(user_file, read_safely, warnings.append)) is not None:
            blocks.extend(reader(of_user=True).blocks(user_file, text))
        if (text := _optional(system_file, _read, warnings.append)) is not None:
            blocks.extend(reader(of_user=False).blocks(system_file, text))
    elif file.lower() != "none":
        try:
            text = _read(file)
        except OSError as error:
            raise UsageError(f"-F {file}: {error.strerror}") from error
        blocks.extend(reader(of_user=True).blocks(file, text))
    return SshConfig(options=directives, blocks=blocks, local=local, run=run, warnings=warnings)


def _read(path: str) -> str:
    return Path(path).read_bytes().decode("utf-8", errors="surrogateescape")


def _optional(path: str, read: Callable[[str], str], warn: Callable[[str], None]) -> str | None:
    """Read a file that need not exist."""
    try:
        return read(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        warn(f"{path} cannot be read and is passed over: {error.strerror}")
        return None
