"""The real servers, logged into by the real client."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.servers.daemon import Daemon
from tests.servers.namespace import Namespace
from tests.servers.processes import wait_until_gone
from tests.servers.requirement import program

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]


@pytest.fixture(scope="module", params=["sshd", "dropbear"])
def server(request: pytest.FixtureRequest) -> Daemon:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Daemon)
    return found


def ssh(
    server: Daemon,
    command: str,
    *,
    tmp_path: Path,
    host: str = "127.0.0.1",
    user: str = "root",
    options: tuple[str, ...] = ("-o", "BatchMode=yes"),
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run the client of OpenSSH with nothing of this machine's configuration."""
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(server.known_hosts([host]))
    argv: list[str | Path] = [
        *(program("ssh", package="openssh-client"), "-F", "none", "-i", server.client_key),
        *("-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none"),
        *("-o", f"UserKnownHostsFile={known_hosts}", "-o", "GlobalKnownHostsFile=none"),
        *("-o", "StrictHostKeyChecking=yes", *options),
        *("-p", str(server.port), f"{user}@{host}", command),
    ]
    assert server.namespace is not None
    return server.namespace.run(argv, env=env, check=False)


@pytest.mark.parametrize(("user", "uid"), [("root", 0), ("guest", 65534)])
def test_the_key_logs_in(server: Daemon, tmp_path: Path, user: str, uid: int) -> None:
    done = ssh(server, "id -u; pwd; exit 7", tmp_path=tmp_path, user=user)
    assert (done.returncode, done.stderr) == (7, b"")
    assert done.stdout.decode().split() == [str(uid), str(server.accounts.home(user))]


def test_every_loopback_address_is_a_host(server: Daemon, tmp_path: Path) -> None:
    assert ssh(server, "exit 3", tmp_path=tmp_path, host="127.66.5.4").returncode == 3


def test_another_key_does_not_log_in(server: Daemon, tmp_path: Path) -> None:
    options = ("-o", "BatchMode=yes", "-o", "IdentityFile=none", "-o", "PubkeyAuthentication=no")
    done = ssh(server, "true", tmp_path=tmp_path, options=options)
    assert done.returncode == 255
    assert b"Permission denied" in done.stderr


def with_password(server: Daemon, tmp_path: Path) -> subprocess.CompletedProcess[bytes]:
    asker = tmp_path / "asker"
    asker.write_text(f"#!/bin/sh\necho '{server.password}'\n")
    asker.chmod(0o755)
    return ssh(
        server,
        "echo in",
        tmp_path=tmp_path,
        user=server.guest,
        options=("-o", "PreferredAuthentications=password", "-o", "PubkeyAuthentication=no"),
        env={**os.environ, "SSH_ASKPASS": str(asker), "SSH_ASKPASS_REQUIRE": "force"},
    )


def test_sshd_takes_passwords_where_the_test_says_so(sshd_here: StartServer, tmp_path: Path) -> None:
    server = sshd_here(options={"passwordauthentication": "yes", "MaxAuthTries": "2"})
    assert with_password(server, tmp_path).stdout == b"in\n"
    assert server.log.wait_for(r"Accepted password for guest")


def test_dropbear_takes_passwords(dropbear: Daemon, tmp_path: Path) -> None:
    assert with_password(dropbear, tmp_path).stdout == b"in\n"


def test_a_mistyped_option_is_an_error_with_the_log(namespace: Namespace, sshd_here: StartServer) -> None:
    with pytest.raises(AssertionError, match="Bad configuration option: Prot"):
        sshd_here(options={"Prot": "1"})


def test_stopping_ends_what_users_left_running(sshd_here: StartServer, tmp_path: Path) -> None:
    server = sshd_here()
    started = ssh(server, "setsid sleep 1000 <&- >&- 2>&- & echo $!", tmp_path=tmp_path)
    orphan = int(started.stdout)
    server.stop()
    assert not wait_until_gone({orphan, server.pid})
    assert not server.directory.exists()
