"""The exec transport: checks that the template fits all hosts and that its program exists."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence

from multirsh.errors import UsageError
from multirsh.model import Host, HostRoute, RouteSettings, Settings, digest
from multirsh.names import check_word
from multirsh.transports.dialling import Dialler
from multirsh.transports.exec.template import WAY_OUT, ExecTemplate
from multirsh.transports.options import ExecOptions
from multirsh.transports.process.child import Launch
from multirsh.transports.process.connection import DESCRIPTORS, ProcessConnector


class ExecTransport:
    """A ``Transport`` (``transports.base``) that reaches hosts by a program of the user's choice."""

    descriptors_per_host = DESCRIPTORS
    converses = True
    is_private = True

    def __init__(self, options: ExecOptions) -> None:
        """Make the transport.

        Raises:
            UsageError: There is no template, or it is not valid.
        """
        if options.template is None:
            raise UsageError("exec needs to know what program reaches a host", hint=f"say it, {WAY_OUT}")
        self._options = options
        self._template = ExecTemplate.parse(options.template)

    @property
    def has_terminals(self) -> bool:
        """Always ``False``: programs get pipes."""
        return False

    async def prepare(self, hosts: Sequence[Host]) -> None:
        """Check that the template can be filled in for all of ``hosts``, and that its program exists.

        Raises:
            UsageError: A host lacks a value or needs a jump host, or the program cannot be started.
        """
        for settings, host in _distinct(hosts):
            self._check(self._options.settings.or_else(settings), host)
        if self._template.program is not None:
            _find(self._template.program)

    def connector(self, dialler: Dialler) -> ProcessConnector:
        """Return the connector for one run."""
        return ProcessConnector(
            self._launch, user_of=self._user_of, sees_all=False, close_timeout=dialler.close_timeout
        )

    async def close(self) -> None:
        """Do nothing: the transport holds no resources."""

    def route(self, host: Host) -> HostRoute:
        """Return the address and settings used for ``host``."""
        settings = self._options.settings.or_else(host.settings)
        program = digest(self._options.template or "")
        return HostRoute(host.target, host.target, RouteSettings(settings=settings, program=program))

    def _user_of(self, host: Host) -> str | None:
        return self._options.settings.or_else(host.settings).user

    def _launch(self, host: Host, command: str) -> Launch:
        settings = self._options.settings.or_else(host.settings)
        values = {
            "h": host.target,
            "n": host.name,
            "u": settings.user or "",
            "p": str(settings.port or ""),
            "c": command,
        }
        return Launch(self._template.filled(values))

    def _check(self, settings: Settings, host: Host) -> None:
        if settings.jump not in {None, "none"}:
            raise UsageError(
                f"{host.name}: exec cannot go through a jump host ({settings.jump})",
                hint="say it in --exec, if the program can; and 'jump: none' for the host",
            )
        if settings.user is None and self._template.uses("u"):
            raise UsageError(
                f"{host.name}: --exec has %u, and no user is said",
                hint="give -l USER, or user: in the hosts file",
            )
        if settings.port is None and self._template.uses("p"):
            raise UsageError(
                f"{host.name}: --exec has %p, and no port is said",
                hint="give -p PORT, or port: in the hosts file",
            )
        if settings.user is not None and self._template.uses("u"):
            # multirsh passes the template to no shell, but the program may be one, or start one.
            check_word(settings.user, f"{host.name}: %u in --exec")


def _distinct(hosts: Iterable[Host]) -> Iterable[tuple[Settings, Host]]:
    """Return each distinct set of settings, with the first host that has it."""
    return {host.settings: host for host in reversed(list(hosts))}.items()


def _find(program: str) -> None:
    """Check that ``program`` can be started.

    Raises:
        UsageError: It does not exist, or is not executable.
    """
    if shutil.which(program) is not None:
        return
    if os.sep not in program:
        raise UsageError(f"--exec: there is no program {program!r} in PATH", hint="give its whole path")
    reason = "it may not be executed" if os.path.exists(program) else "no such file"  # noqa: PTH110 - as which does
    raise UsageError(f"--exec: {program} cannot be started: {reason}", hint="look at its path")
