"""The options that asyncssh is given, where their absence would be silent."""

from __future__ import annotations

import asyncssh
import pytest

from multirsh.transports.ssh.config import read_config
from multirsh.transports.ssh.plan import KEEPALIVE_SECONDS, base_options


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
