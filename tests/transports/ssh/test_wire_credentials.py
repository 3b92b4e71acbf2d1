"""What gets us in, and what proves the host, against a real sshd: agents, certificates, authorities, IPv6."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from multirsh.model import ClosedBy, ErrorKind, Host, HostKeyPolicy, Settings, Status
from multirsh.transports.options import SshOptions
from tests.conftest import StartServer
from tests.fleets import fleet_of, hosts_on, known, run_all, ssh_options
from tests.servers.daemon import Daemon
from tests.servers.keys import certify, make_key, public
from tests.servers.namespace import Namespace

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

HOST = "127.1.2.3"


def quietly(*argv: str, **environ: str) -> None:
    """Run a program that must succeed."""
    subprocess.run(argv, check=True, env={**os.environ, **environ}, capture_output=True)


async def ending_of(hosts: list[Host], ssh: SshOptions, command: str = "true") -> tuple[Status, str]:
    """The only host's status, and what went wrong with it."""
    finished, _, _ = await run_all(fleet_of(hosts, ssh), command)
    (ending,) = finished.values()
    assert ending.closed_by is ClosedBy.REMOTE
    return ending.status, "" if ending.error is None else ending.error.kind


async def test_a_key_that_only_the_agent_has_gets_in(
    sshd: Daemon, agent: Path, in_module_namespace: Namespace, tmp_path: Path
) -> None:
    quietly("ssh-add", "-q", str(sshd.client_key), SSH_AUTH_SOCK=str(agent))
    host = Host(HOST, settings=Settings(user=sshd.user, port=sshd.port))
    file = known(sshd, [HOST], tmp_path)
    nobody = SshOptions(
        config_file="none",
        overrides=(f"UserKnownHostsFile={file}", "IdentityAgent=none", "IdentityFile=none"),
    )
    assert await ending_of([host], nobody) == (Status.AUTH, ErrorKind.DENIED)
    asked = SshOptions(config_file="none", overrides=(f"UserKnownHostsFile={file}", f"IdentityAgent={agent}"))
    assert await ending_of([host], asked) == (Status.OK, "")


async def test_a_users_certificate_gets_in(
    sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
) -> None:
    authority = make_key(tmp_path / "authority")
    server = sshd_here(
        options={"TrustedUserCAKeys": f"{authority}.pub", "AuthorizedKeysFile": "none"},
    )
    own = make_key(tmp_path / "own")
    ssh = ssh_options(known(server, [HOST], tmp_path))
    assert await ending_of(hosts_on(server, [HOST], identity=str(own)), ssh) == (
        Status.AUTH,
        ErrorKind.DENIED,
    )
    certify(own, authority=authority, principals=[server.user])
    assert await ending_of(hosts_on(server, [HOST], identity=str(own)), ssh) == (Status.OK, "")


class TestHostCertificates:
    """A host that shows a certificate."""

    @pytest.fixture
    def authority(self, tmp_path: Path) -> Path:
        return make_key(tmp_path / "authority")

    @pytest.fixture
    def server(
        self, sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path, authority: Path
    ) -> Daemon:
        key = make_key(tmp_path / "host_key")
        certificate = certify(key, authority=authority, principals=[HOST], host=True)
        return sshd_here(options={"HostKey": str(key), "HostCertificate": str(certificate)})

    @pytest.mark.parametrize("policy", [HostKeyPolicy.STRICT, HostKeyPolicy.ACCEPT_NEW])
    async def test_its_authority_is_enough(
        self, policy: HostKeyPolicy, server: Daemon, authority: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "known_hosts"
        file.write_text(f"@cert-authority [127.1.*]:* {public(authority)}\n")
        before = file.read_text()
        assert await ending_of(hosts_on(server, [HOST]), ssh_options(file, host_keys=policy)) == (
            Status.OK,
            "",
        )
        assert file.read_text() == before

    async def test_a_certificate_for_another_name_is_refused(
        self, server: Daemon, authority: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "known_hosts"
        file.write_text(f"@cert-authority * {public(authority)}\n")
        status, _ = await ending_of(hosts_on(server, ["127.1.2.4"]), ssh_options(file))
        assert status is Status.HOSTKEY

    async def test_a_revoked_authority_is_refused(
        self, server: Daemon, authority: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "known_hosts"
        file.write_text(f"@cert-authority * {public(authority)}\n@revoked * {public(authority)}\n")
        assert await ending_of(hosts_on(server, [HOST]), ssh_options(file)) == (
            Status.HOSTKEY,
            ErrorKind.HOSTKEY_REVOKED,
        )

    async def test_without_the_authority_its_plain_key_counts(self, server: Daemon, tmp_path: Path) -> None:
        file = tmp_path / "known_hosts"
        refused = await ending_of(hosts_on(server, [HOST]), ssh_options(file))
        assert refused == (Status.HOSTKEY, ErrorKind.HOSTKEY_UNKNOWN)
        new = ssh_options(file, host_keys=HostKeyPolicy.ACCEPT_NEW)
        assert await ending_of(hosts_on(server, [HOST]), new) == (Status.OK, "")
        assert await ending_of(hosts_on(server, [HOST]), ssh_options(file)) == (Status.OK, "")


async def test_a_host_with_keys_of_several_kinds_is_asked_for_the_known_one(
    sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
) -> None:
    kinds = {kind: make_key(tmp_path / kind, kind=kind) for kind in ("ed25519", "ecdsa", "rsa")}
    server = sshd_here(options={"HostKey": [str(path) for path in kinds.values()]})
    for path in kinds.values():
        file = tmp_path / f"known_{path.name}"
        file.write_text(f"[{HOST}]:{server.port} {public(path)}\n")
        assert await ending_of(hosts_on(server, [HOST]), ssh_options(file)) == (Status.OK, "")


async def test_a_host_known_by_a_kind_of_key_that_it_has_not_has_changed(
    sshd: Daemon, in_module_namespace: Namespace, tmp_path: Path
) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"[{HOST}]:{sshd.port} {public(make_key(tmp_path / 'other', kind='ecdsa'))}\n")
    new = ssh_options(file, host_keys=HostKeyPolicy.ACCEPT_NEW)
    assert await ending_of(hosts_on(sshd, [HOST]), new) == (Status.HOSTKEY, ErrorKind.HOSTKEY_CHANGED)


async def test_a_hashed_name_is_found(sshd: Daemon, in_module_namespace: Namespace, tmp_path: Path) -> None:
    file = known(sshd, [HOST], tmp_path)
    quietly("ssh-keygen", "-q", "-H", "-f", str(file))
    assert HOST not in file.read_text()
    assert await ending_of(hosts_on(sshd, [HOST]), ssh_options(file)) == (Status.OK, "")


async def test_ipv6(sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path) -> None:
    server = sshd_here(address="::1")
    host = Host("six", address="::1", settings=hosts_on(server, ["x"])[0].settings)
    file = tmp_path / "known_hosts"
    file.write_text(f"[::1]:{server.port} {server.host_key}\n")
    assert await ending_of([host], ssh_options(file)) == (Status.OK, "")
    assert not in_namespace.client_side([server.port])
