"""Servers that carry files, each in its own way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program import Program
from tests.servers.daemon import Daemon
from tests.servers.dropbear import start_dropbear
from tests.servers.namespace import Namespace
from tests.servers.sshd import start_sshd

SFTP_SERVER = Path("/usr/lib/openssh/sftp-server")
DROPBEARS = Path("/usr/lib/sftp-server")


@pytest.fixture(scope="module")
def internal(module_namespace: Namespace) -> Iterator[Daemon]:
    """sshd with its own SFTP."""
    with start_sshd(namespace=module_namespace, options={"Subsystem": "sftp internal-sftp"}) as server:
        yield server


@pytest.fixture(scope="module")
def external(module_namespace: Namespace) -> Iterator[Daemon]:
    """sshd with sftp-server."""
    with start_sshd(namespace=module_namespace, options={"Subsystem": f"sftp {SFTP_SERVER}"}) as server:
        yield server


@pytest.fixture(scope="module")
def switched_off(module_namespace: Namespace) -> Iterator[Daemon]:
    """sshd without a subsystem; the program is there."""
    with start_sshd(namespace=module_namespace) as server:
        yield server


@pytest.fixture(scope="module")
def scp_only(module_namespace: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """sshd on a machine that has no sftp-server."""
    nothing = tmp_path_factory.mktemp("nothing") / "empty"
    nothing.touch(mode=0o644)
    hidden = {str(SFTP_SERVER): nothing}
    with start_sshd(namespace=module_namespace, replaced=hidden) as server:
        yield server


@pytest.fixture(scope="module")
def bear(module_namespace: Namespace) -> Iterator[Daemon]:
    """dropbear, which starts the machine's sftp-server."""
    with start_dropbear(namespace=module_namespace) as server:
        yield server


WAYS = ("internal", "external", "switched_off", "bear", "scp_only")


@pytest.fixture(params=WAYS)
def server(
    request: pytest.FixtureRequest,
    internal: Daemon,
    external: Daemon,
    switched_off: Daemon,
    bear: Daemon,
    scp_only: Daemon,
) -> Daemon:
    """Each of them in turn."""
    by_name = dict(zip(WAYS, (internal, external, switched_off, bear, scp_only), strict=True))
    return by_name[request.param]


@pytest.fixture
def on_server(server: Daemon, in_module_namespace: Namespace, multirsh: Program) -> Program:
    """The program, where ``h01`` and ``h02`` are the server."""
    multirsh.knows(server, 2)
    return multirsh


@pytest.fixture
def on_internal(internal: Daemon, in_module_namespace: Namespace, multirsh: Program) -> Program:
    """The program, where ``h01`` to ``h10`` are one sshd with SFTP."""
    multirsh.knows(internal, 10)
    return multirsh
