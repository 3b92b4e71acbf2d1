"""OpenSSH's sshd(8) with a configuration of its own (sshd_config(5)), on a high port."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.servers import keys
from tests.servers.accounts import Person
from tests.servers.daemon import Daemon, make_site
from tests.servers.namespace import Namespace
from tests.servers.ports import free_port
from tests.servers.requirement import program

Options = Mapping[str, str | Sequence[str]]
"""Keywords of sshd_config(5) and their values; several values are several lines."""

_PRIVILEGE_SEPARATION = Path("/run/sshd")


def start_sshd(
    *,
    namespace: Namespace | None = None,
    port: int | None = None,
    address: str = "0.0.0.0",
    options: Options | None = None,
    shell: str | Path = "/bin/sh",
    replaced: Mapping[str, Path] | None = None,
    people: Sequence[Person] = (),
) -> Daemon:
    """Start sshd and wait until it listens.

    Args:
        namespace: Where; ``None`` is the machine's own network, and then only 127.0.0.1 listens.
        port: Where it listens; ``None`` picks one.
        address: Its ListenAddress.
        options: Keywords that replace ours or are added to them. ``ListenAddress`` may be given here too.
        shell: The guest's login shell.
        replaced: What it and its users see in place of some of the machine's files, by path.
        people: More users than root and the guest.

    Raises:
        AssertionError: It did not start; its log is in the message.
    """
    sshd = program("sshd", package="openssh-server")
    site = make_site("sshd", shell=shell, people=people)
    if namespace is None:
        address = "127.0.0.1"
    if port is None:
        port = free_port(namespace)
    # Needed even where nothing is separated; a distribution's service manager would make it.
    _PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
    host_key = keys.make_key(site.directory / "host_key")
    settings: dict[str, str | Sequence[str]] = {
        "Port": str(port),
        "ListenAddress": address,
        "HostKey": str(host_key),
        "PidFile": "none",
        "UsePAM": "no",
        "StrictModes": "no",
        "PermitRootLogin": "yes",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "AuthorizedKeysFile": ".ssh/authorized_keys",
        "AcceptEnv": "LANG LC_* MULTIRSH_*",
        "PrintMotd": "no",
        "PrintLastLog": "no",
        "UseDNS": "no",
        "MaxStartups": "4096",
        "LogLevel": "VERBOSE",
    }
    if _has_penalties(sshd):
        settings["PerSourcePenalties"] = "no"
    names = {name.lower(): name for name in settings}
    for name, value in (options or {}).items():
        settings[names.get(name.lower(), name)] = value
    config = site.directory / "sshd_config"
    config.write_text(_worded(settings))
    return Daemon(
        [sshd, "-D", "-e", "-f", config],
        site=site,
        port=port,
        host_key=keys.public(host_key),
        namespace=namespace,
        replaced=replaced,
        ready=r"Server listening on .* port \d+",
    )


def _worded(settings: Options) -> str:
    """Write sshd_config lines."""
    lines = []
    for name, value in settings.items():
        lines += [f"{name} {one}\n" for one in ([value] if isinstance(value, str) else value)]
    return "".join(lines)


@functools.cache
def _has_penalties(sshd: Path) -> bool:
    """Whether this sshd (9.8 and later) bans a source after failures, which would fail the next test."""
    tried = subprocess.run(
        [sshd, "-t", "-f", "/dev/null", "-o", "PerSourcePenalties=no"],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    return b"Bad configuration option" not in tried.stderr
