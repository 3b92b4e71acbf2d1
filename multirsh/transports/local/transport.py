"""Runs each host's command on this machine, by the login shell of the user who runs multirsh."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from multirsh.errors import UsageError
from multirsh.model import Host, Settings
from multirsh.transports.base import Warn
from multirsh.transports.dialling import Dialler
from multirsh.transports.process.child import Launch
from multirsh.transports.process.connection import DESCRIPTORS, ProcessConnector

_DEFAULT_SHELL: Final = "/bin/sh"
"""The shell that an empty field of passwd(5) means."""


class LocalTransport:
    """A ``Transport`` (``transports.base``) that runs commands on this machine."""

    descriptors_per_host = DESCRIPTORS
    converses = True
    is_private = True

    def __init__(self, settings: Settings, warn: Warn) -> None:
        """Make the transport.

        Args:
            settings: The settings that take precedence over every host's own: ``-l``, ``-J``.
            warn: Shows warnings to the user.
        """
        self._settings = settings
        self._warn = warn
        self._shell = _DEFAULT_SHELL

    @property
    def has_terminals(self) -> bool:
        """Always ``False``: commands get pipes."""
        return False

    async def prepare(self, hosts: Sequence[Host]) -> None:
        """Find the shell, and check that no other user or machine is asked for.

        Raises:
            UsageError: ``-l`` names another user, ``-J`` names a jump host, or the shell cannot be started.
        """
        user = _user_name()
        if self._settings.user not in {None, user}:
            raise UsageError(
                f"-R local runs commands as {user}, and not as {self._settings.user}", hint="leave -l out"
            )
        if self._settings.jump not in {None, "none"}:
            raise UsageError("-R local goes nowhere, so through no jump host", hint="leave -J out")
        others = {host.settings.user for host in hosts} - {None, user}
        if others:
            self._warn(f"-R local runs everything as {user}; the hosts' own users are not minded")
        self._shell = login_shell()
        if not os.access(self._shell, os.X_OK):
            raise UsageError(
                f"the login shell {self._shell} cannot be started", hint="set SHELL to one that can"
            )

    def connector(self, dialler: Dialler) -> ProcessConnector:
        """Return the connector for one run."""
        return ProcessConnector(
            self._launch,
            user_of=lambda _host: _user_name(),
            sees_all=True,
            close_timeout=dialler.close_timeout,
        )

    async def close(self) -> None:
        """Do nothing: the transport holds no resources."""

    def _launch(self, _host: Host, command: str) -> Launch:
        """Call the shell as sshd does: its base name, ``-c`` and the command (session.c, ``do_child``)."""
        name = os.fsencode(Path(self._shell).name)
        return Launch((name, b"-c", command.encode("utf-8", "surrogateescape")), executable=self._shell)


def login_shell() -> str:
    """Return ``$SHELL`` if it is an absolute path, else the shell in the user database, else /bin/sh."""
    said = os.environ.get("SHELL", "")
    if Path(said).is_absolute():
        return said
    try:
        return pwd.getpwuid(os.getuid()).pw_shell or _DEFAULT_SHELL
    except KeyError:
        return _DEFAULT_SHELL


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
