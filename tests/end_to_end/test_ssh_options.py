"""What ssh's own options and files mean here."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program import Program
from tests.servers.daemon import Daemon
from tests.servers.namespace import Namespace

pytestmark = pytest.mark.root

ONE = ("-f", "hosts.yaml", "-w", "h01")


@pytest.fixture
def agent(sshd: Daemon, tmp_path: Path) -> Iterator[str]:
    """A real agent with the key that sshd accepts; its socket."""
    socket = str(tmp_path / "agent")
    process = subprocess.Popen(
        ["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    process.stdout.readline()
    subprocess.run(["ssh-add", "-q", sshd.client_key], env=os.environ | {"SSH_AUTH_SOCK": socket}, check=True)
    yield socket
    process.terminate()
    process.stdout.close()
    process.wait()


def test_another_configuration_file(on_sshd: Program, sshd: Daemon) -> None:
    ours = (on_sshd.home / ".ssh/config").rename(on_sshd.home / "other")

    assert on_sshd(*ONE, "-F", str(ours), "echo a").out == "h01: a\n"
    assert on_sshd(*ONE, "-F", "none", "true").code == 4  # nothing says where the port is


def test_options_go_before_files(on_sshd: Program, sshd: Daemon, tmp_path: Path) -> None:
    config = on_sshd.write(
        "other", f"User nobody-here\nPort 1\nIdentityFile {sshd.client_key}\nIdentityAgent none\n"
    )
    ended = on_sshd(*ONE, "-F", config, "-o", f"Port={sshd.port}", "-o", "User root", "echo a")

    assert ended.out == "h01: a\n"


def test_letters_go_before_the_hosts_file(on_sshd: Program, sshd: Daemon) -> None:
    on_sshd.write("hosts.yaml", "hosts:\n  - h01: {address: 127.1.0.1, user: nobody-here, port: 1}\n")

    ended = on_sshd(
        *(*ONE, "-F", "none", "-l", "root", "-p", str(sshd.port), "-i", str(sshd.client_key)), "echo a"
    )

    assert ended.out == "h01: a\n"


def test_through_a_jump_host(on_sshd: Program, sshd: Daemon) -> None:
    """The hosts see the bastion, and all of them go through one connection to it."""
    ended = on_sshd(
        *("-f", "hosts.yaml", "-g", "few", "-N", "--json", "-J", f"127.1.0.9:{sshd.port}"),
        "echo $SSH_CONNECTION",
    )

    assert ended.code == 0
    assert '"peak":1,"closed_by":{"remote":1,"local":0,"reset":0}' in ended.out
    assert ended.out.count('"closed_by":null') == 5


def test_the_letters_are_not_for_the_jump_host(on_sshd: Program, sshd: Daemon) -> None:
    """As in ssh: its user and port are in its own words, or in ssh_config."""
    ended = on_sshd(
        *(*ONE, "-l", "nobody-here", "-o", "Port=1", "--json", "-J", f"root@127.1.0.9:{sshd.port}", "true")
    )

    assert '"kind":"jump"' in ended.out  # through the bastion, port 1 refuses
    assert "127.1.0.1 port 1" in ended.out
    bare = on_sshd(*ONE, "-o", f"Port={sshd.port}", "-J", "127.1.0.9", "-o", "User=root", "true")
    assert bare.code == 0  # the bastion's port and user come from ~/.ssh/config


def test_the_agent_is_lent_only_where_we_are_told_so(on_sshd: Program, agent: str) -> None:
    """``ForwardAgent yes`` in ssh_config is not enough: the root of any host could use it."""
    config = on_sshd.home / ".ssh/config"
    words = config.read_text().replace("IdentityAgent none\n", f"IdentityAgent {agent}\nForwardAgent yes\n")
    config.write_text(words)
    asking = "env | grep -c ^SSH_AUTH_SOCK; ssh-add -l"

    without = on_sshd(*ONE, "-N", "-q", asking)
    lent = on_sshd(*ONE, "-N", "-q", "-A", asking)

    assert without.out == "0\n"
    assert lent.out.startswith("1\n256 SHA256:")


def test_the_agent_opens(on_sshd: Program, sshd: Daemon, agent: str) -> None:
    ended = on_sshd(
        *(*ONE, "-F", "none", "-l", "root", "-p", str(sshd.port), "echo a"),
        env={"SSH_AUTH_SOCK": agent},
    )

    assert ended.out == "h01: a\n"


def test_accept_new_learns_a_key_once(on_sshd: Program, sshd: Daemon, in_module_namespace: Namespace) -> None:
    known = on_sshd.home / ".ssh/known_hosts"
    known.unlink()

    assert on_sshd("-f", "hosts.yaml", "-g", "few", "--host-keys", "accept-new", "true").code == 0
    assert len(known.read_text().splitlines()) == 5
    assert on_sshd("-f", "hosts.yaml", "-g", "few", "true").code == 0


def test_the_command_line_goes_before_the_hosts_file_in_host_keys(
    on_sshd: Program, sshd: Daemon, in_module_namespace: Namespace
) -> None:
    """What loosens a check for one host in a file must not loosen what was asked for here and now."""
    file = f"hosts:\n  - h01: {{address: 127.0.0.1, port: {sshd.port}, user: root, host_keys: 'off'}}\n"
    (on_sshd.home / "loose.yaml").write_text(file)
    strict = ("-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile=/dev/null")
    end = on_sshd(*strict, "-f", str(on_sshd.home / "loose.yaml"), "echo ran")
    assert end.code == 4
    assert "hostkey" in end.err
    assert not end.out


def test_a_port_may_be_a_services_name(on_sshd: Program) -> None:
    end = on_sshd("-F", "none", "-o", "Port=tcpmux", "-w", "127.0.0.1", "true")
    assert (end.code, "connection refused" in end.err) == (4, True)
