"""A password is given once a connection, or asked for when it is needed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncssh
import pytest

from multirsh.model import HostKeyPolicy
from multirsh.transports.login_deadline import LoginDeadline
from multirsh.transports.passwords import Password
from multirsh.transports.ssh.config import read_config
from multirsh.transports.ssh.known_hosts import KnownHosts
from multirsh.transports.ssh.login import (
    KEEPALIVE_SECONDS,
    PASSWORD_ATTEMPTS,
    AskedPassword,
    GivenPassword,
    HostKeyCheck,
    base_options,
)


async def test_a_given_password_is_given_once_a_connection() -> None:
    given = GivenPassword(Password("open"))
    assert await given.give(1) is given.password
    assert await given.give(2) is None
    assert await given.give(1) is given.password
    assert "open" not in repr(given)


async def test_a_person_is_asked_once_for_all_and_again_only_after_a_refusal() -> None:
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return f"answer {len(asked)}"

    password = AskedPassword(ask, "ops@jump's password: ")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(password.give(1)) for _ in range(2)]
    first, beside = (task.result() for task in tasks)
    assert first is beside
    assert first is not None
    assert (first.reveal(), asked) == ("answer 1", ["ops@jump's password: "])
    again = await password.give(2)
    assert again is not None
    assert again.reveal() == "answer 2"
    assert await password.give(PASSWORD_ATTEMPTS + 1) is None
    assert len(asked) == 2


def options_for(*overrides: str) -> asyncssh.SSHClientConnectionOptions:
    settings = read_config(file="none", options=overrides).target("host").settings
    return base_options(settings)


@pytest.mark.parametrize(
    ("overrides", "seconds", "count"),
    [
        ((), KEEPALIVE_SECONDS, 3),
        (("ServerAliveInterval=5", "ServerAliveCountMax=2"), 5, 2),
        (("ServerAliveInterval=0",), 0, 3),
    ],
)
def test_a_dead_peer_is_noticed_unless_somebody_said_otherwise(
    overrides: tuple[str, ...], seconds: int, count: int
) -> None:
    options = options_for(*overrides)
    assert (options.keepalive_interval, options.keepalive_count_max) == (seconds, count)


def test_nothing_is_decoded_forwarded_or_looked_up_behind_our_back() -> None:
    options = options_for("ForwardAgent=yes")
    assert options.encoding is None
    assert options.agent_forward_path is None
    assert options.agent_path is None
    assert options.login_timeout == 0


def test_ciphers_that_cost_least_come_first_and_all_others_after_them() -> None:
    usual = options_for("Ciphers=chacha20-poly1305@openssh.com").encryption_algs
    assert usual == [b"chacha20-poly1305@openssh.com"]
    ours = options_for().encryption_algs
    assert ours[:2] == [b"aes128-gcm@openssh.com", b"aes256-gcm@openssh.com"]
    assert set(ours) >= {b"chacha20-poly1305@openssh.com", b"aes256-ctr"}
    assert len(ours) == len(set(ours))


async def test_host_key_algorithms_change_the_usual_order_or_replace_it(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    key = asyncssh.generate_private_key("ecdsa-sha2-nistp256").export_public_key().decode()
    file.write_text(f"host {key}@cert-authority other {key}")
    check = HostKeyCheck(
        KnownHosts.read([str(file)]),
        name="host",
        port=22,
        policy=HostKeyPolicy.STRICT,
        hash_names=False,
        password=None,
        login_deadline=LoginDeadline(),
    )
    known, certified = "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256-cert-v01@openssh.com"
    usual = check.algorithms(None)
    assert usual[:2] == [certified, known], "the known kind first, and its certificate before it"
    assert {"ssh-ed25519", "ssh-ed25519-cert-v01@openssh.com"} < set(usual), "the others, too"
    assert check.algorithms("+ssh-dss") == [*usual, "ssh-dss"]
    assert check.algorithms("^ssh-ed25519")[:3] == ["ssh-ed25519", certified, known]
    assert check.algorithms("-ecdsa-*") == [kind for kind in usual if not kind.startswith("ecdsa-")]
    assert check.algorithms("ssh-ed25519,ssh-rsa") == ["ssh-ed25519", "ssh-rsa"]
