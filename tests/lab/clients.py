"""Clients that know nothing of the lab but what it wrote into its folder."""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from multirsh.lab import Lab
from tests.servers.requirement import program
from tests.waiting import HANG_GUARD_S

TREE = "sh -c 'sleep 1000 & echo ready; wait' & sh -c 'sleep 1000 & echo ready; wait' & wait"
"""A command of five processes, all of them there once it has said ``READY``."""

READY = b"ready\nready\n"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run of the ssh program ended."""

    status: int
    stdout: bytes
    stderr: bytes


async def openssh(
    lab: Lab, *words: str, stdin: bytes = b"", environment: dict[str, str] | None = None
) -> Ended:
    """Run OpenSSH's client with the lab's ssh_config."""
    process = await asyncio.create_subprocess_exec(
        program("ssh", package="openssh-client"),
        "-F",
        lab.ssh_config,
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        async with asyncio.timeout(HANG_GUARD_S):
            stdout, stderr = await process.communicate(stdin)
    except TimeoutError:
        process.send_signal(signal.SIGKILL)
        await process.wait()
        raise
    assert process.returncode is not None
    return Ended(process.returncode, stdout, stderr)


def connect(
    lab: Lab,
    name: str,
    *,
    user: str | None = None,
    key: Path | asyncssh.SSHKey | None = None,
    known_hosts: Path | None = None,
    tunnel: asyncssh.SSHClientConnection | None = None,
    sock: socket.socket | None = None,
) -> AbstractAsyncContextManager[asyncssh.SSHClientConnection]:
    """Connect by asyncssh, with the lab's user and key unless others are given."""
    address, port = lab.address_of(name)
    return asyncssh.connect(
        address,
        port,
        username=lab.user if user is None else user,
        client_keys=[lab.client_key if key is None else key],
        known_hosts=str(lab.known_hosts if known_hosts is None else known_hosts),
        tunnel=tunnel,
        sock=sock,
        config=None,
        agent_path=None,
        encoding=None,
    )
