"""Keys are loaded once and offered in ssh's order; real ssh-keygen and ssh-agent make them."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.errors import CredentialError
from multirsh.transports.ssh.config import Identity, IdentitySource, read_config
from multirsh.transports.ssh.credentials import KeyChoice, KeyRing, KeyState, is_encrypted, read_key_file

pytestmark = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None or shutil.which("ssh-agent") is None, reason="needs openssh-client"
)

OPTION, CONFIG, DEFAULT = IdentitySource.OPTION, IdentitySource.CONFIG, IdentitySource.DEFAULT


def keygen(*argv: str) -> None:
    subprocess.run(["ssh-keygen", "-q", *argv], check=True, stdin=subprocess.DEVNULL)


def make_key(path: Path, passphrase: str = "", kind: str = "ed25519", *more: str) -> Path:
    short = ["-b", "1024"] if kind == "rsa" else []  # to find two primes for 3072 may take seconds
    keygen("-t", kind, *short, "-N", passphrase, "-C", path.name, "-f", str(path), *more)
    return path


def certify(key: Path, ca: Path, *more: str) -> Path:
    keygen("-s", str(ca), "-I", "id", "-n", "root", *more, f"{key}.pub")
    return Path(f"{key}-cert.pub")


def choice(*paths: Path | str, source: IdentitySource = CONFIG, **more: object) -> KeyChoice:
    return KeyChoice(tuple(Identity(str(path), source) for path in paths), **more)  # type: ignore[arg-type]  # the test's own words


def blob(public: Path) -> bytes:
    return asyncssh.import_public_key(public.read_bytes()).public_data


def pub(key: Path) -> Path:
    return Path(f"{key}.pub")


@dataclass
class Person:
    """Answers questions, and remembers them."""

    answers: list[str]
    prompts: list[str] = field(default_factory=list)

    def __call__(self, prompt: str) -> str:
        assert threading.current_thread() is not threading.main_thread()
        self.prompts.append(prompt)
        return self.answers.pop(0)


@dataclass
class Agent:
    """A real ssh-agent."""

    socket: str

    def add(self, *keys: Path) -> None:
        environ = {**os.environ, "SSH_AUTH_SOCK": self.socket}
        subprocess.run(["ssh-add", "-q", *map(str, keys)], env=environ, check=True, capture_output=True)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    path = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # it tells its socket once it listens
    yield Agent(str(path))
    process.terminate()
    process.stdout.close()
    process.wait()


Ring = Callable[..., KeyRing]


@pytest.fixture
async def ring() -> AsyncIterator[Ring]:
    """Make key rings, and let go of their agents."""
    made: list[KeyRing] = []

    def make(**keywords: object) -> KeyRing:
        made.append(KeyRing(**keywords))  # type: ignore[arg-type]  # the test's own words
        return made[-1]

    yield make
    for each in made:
        await each.close()


async def offered(ring: KeyRing, wanted: KeyChoice) -> list[bytes]:
    await ring.load([wanted])
    return [pair.public_data for pair in ring.pairs(wanted)]


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
@pytest.mark.parametrize("form", ["RFC4716", "PKCS8", "PEM"])
async def test_keys_of_every_type_and_format_sign(tmp_path: Path, ring: Ring, kind: str, form: str) -> None:
    key = make_key(tmp_path / "k", "", kind, "-m", form)
    keys = ring()
    await keys.load([choice(key)])
    [pair] = keys.pairs(choice(key))
    signature = pair.sign(b"data")
    assert asyncssh.import_public_key(pub(key).read_bytes()).verify(b"data", signature)


@pytest.mark.parametrize("form", ["RFC4716", "PKCS8", "PEM"])
async def test_encrypted_keys_are_asked_for_once(tmp_path: Path, ring: Ring, form: str) -> None:
    key = make_key(tmp_path / "k", "opensesame", "rsa", "-m", form)
    person = Person(["opensesame"])
    keys = ring(ask=person)
    assert await offered(keys, choice(key)) == [blob(pub(key))]
    assert await offered(keys, choice(key, source=OPTION, only_these=True)) == [blob(pub(key))]
    assert person.prompts == [f"Enter passphrase for key '{key}': "]


async def test_three_tries(tmp_path: Path, ring: Ring) -> None:
    key = make_key(tmp_path / "k", "opensesame")
    person = Person(["wrong", "wrong again", "opensesame"])
    assert len(await offered(ring(ask=person), choice(key))) == 1
    person = Person(["wrong", "wrong", "wrong", "opensesame"])
    with pytest.raises(CredentialError, match="not opened by the passphrases given"):
        await offered(ring(ask=person), choice(key))
    assert person.answers == ["opensesame"]
    with pytest.raises(CredentialError, match="not opened"):
        await offered(ring(ask=Person([""])), choice(key))


async def test_without_a_terminal_the_ways_out_are_told(tmp_path: Path, ring: Ring) -> None:
    key = make_key(tmp_path / "k", "opensesame")
    with pytest.raises(
        CredentialError, match=rf"{key} .* no terminal .*; .*ssh-add {key}.*, or run at a terminal"
    ):
        await offered(ring(), choice(key, source=OPTION))


async def test_encrypted_usual_files_wait_until_there_is_nothing_else(tmp_path: Path, ring: Ring) -> None:
    locked, free = make_key(tmp_path / "id_rsa", "opensesame"), make_key(tmp_path / "id_ed25519")
    missing = tmp_path / "id_dsa"
    assert await offered(ring(ask=Person([])), choice(locked, free, missing, source=DEFAULT)) == [
        blob(pub(free))
    ]
    only = choice(locked, missing, source=DEFAULT)
    assert await offered(ring(ask=Person(["opensesame"])), only) == [blob(pub(locked))]
    keys = ring(ask=Person([""]))
    assert await offered(keys, only) == []
    assert "not opened" in keys.warnings[0]
    keys = ring()
    assert await offered(keys, only) == []
    assert "no terminal" in keys.warnings[0]
    keys = ring(ask=Person([]))
    await keys.load([only], open_usual=False)
    assert keys.pairs(only) == []


async def test_missing_files(tmp_path: Path, ring: Ring) -> None:
    gone = tmp_path / "gone"
    for source in (CONFIG, DEFAULT):
        keys = ring()
        assert await offered(keys, choice(gone, source=source)) == []
        assert keys.warnings == []
    with pytest.raises(CredentialError, match=f"the key {gone} cannot be used: there is no such file"):
        await offered(ring(), choice(gone, source=OPTION))


async def test_a_key_that_others_can_read_is_refused(tmp_path: Path, ring: Ring) -> None:
    key = make_key(tmp_path / "k")
    key.chmod(0o640)
    for source in (OPTION, CONFIG):
        with pytest.raises(CredentialError, match=rf"mode 0640\); chmod 600 {key}"):
            await offered(ring(), choice(key, source=source))
    keys = ring()
    assert await offered(keys, choice(key, source=DEFAULT)) == []
    assert "chmod 600" in keys.warnings[0]


async def test_what_is_no_key(tmp_path: Path, ring: Ring) -> None:
    junk = tmp_path / "junk"
    junk.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n")
    junk.chmod(0o600)
    with pytest.raises(CredentialError, match="junk cannot be used"):
        await offered(ring(), choice(junk, source=OPTION))
    keys = ring()
    assert await offered(keys, choice(junk)) == []
    assert len(keys.warnings) == 1


async def test_the_strongest_word_counts(tmp_path: Path, ring: Ring) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(CredentialError):
        await ring().load([choice(gone, source=DEFAULT), choice(gone, source=OPTION)])


@given(
    content=st.one_of(
        st.binary(),
        st.binary().map(
            lambda body: (
                b"-----BEGIN OPENSSH PRIVATE KEY-----\n" + body + b"\n-----END OPENSSH PRIVATE KEY-----"
            )
        ),
    )
)
def test_any_bytes_are_encrypted_or_not(content: bytes) -> None:
    assert is_encrypted(content) in {True, False}


def test_a_key_file_says_what_it_holds(tmp_path: Path) -> None:
    key = make_key(tmp_path / "k")
    assert read_key_file(str(key)).state is KeyState.READY
    assert read_key_file(str(pub(key))).state is KeyState.PUBLIC
    key.unlink()
    assert read_key_file(str(key)).state is KeyState.PUBLIC
    pub(key).unlink()
    assert read_key_file(str(key)).state is KeyState.MISSING
    locked = make_key(tmp_path / "l", "opensesame")
    pub(locked).unlink()
    found = read_key_file(str(locked))
    assert found.state is KeyState.LOCKED
    assert found.public is not None  # OpenSSH's format shows it
    assert read_key_file(str(tmp_path)).state is KeyState.UNREADABLE


# ---------------------------------------------------------------- certificates


async def test_the_certificate_beside_a_key_follows_it(tmp_path: Path, ring: Ring) -> None:
    ca, key, other = (make_key(tmp_path / name) for name in ("ca", "k", "o"))
    certificate = asyncssh.read_certificate(certify(key, ca))
    wanted = [blob(pub(key)), certificate.public_data, blob(pub(other))]
    assert await offered(ring(), choice(key, other)) == wanted


async def test_named_certificates_come_first_and_alone(tmp_path: Path, ring: Ring) -> None:
    ca, key, other = (make_key(tmp_path / name) for name in ("ca", "k", "o"))
    certify(other, ca)
    named = certify(key, ca).rename(tmp_path / "named-cert.pub")
    got = await offered(ring(), choice(other, key, certificates=(str(named),)))
    assert got == [asyncssh.read_certificate(named).public_data, blob(pub(other)), blob(pub(key))]


@pytest.mark.parametrize(("options", "reason"), [(["-h"], "type"), (["-V", "20200101:20200102"], "expired")])
async def test_certificates_of_no_use_are_told(
    tmp_path: Path, ring: Ring, options: list[str], reason: str
) -> None:
    ca, key = make_key(tmp_path / "ca"), make_key(tmp_path / "k")
    path = certify(key, ca, *options)
    keys = ring()
    assert await offered(keys, choice(key, certificates=(str(path), "/no/such"))) == [blob(pub(key))]
    assert reason in keys.warnings[0]
    assert keys.warnings[1] == "the certificate /no/such is not used: there is no such file"


# ---------------------------------------------------------------- agents


async def test_the_agents_keys_in_sshs_order(tmp_path: Path, ring: Ring, agent: Agent) -> None:
    first, second, own = (make_key(tmp_path / name) for name in ("first", "second", "own"))
    agent.add(first, second)
    got = await offered(ring(), choice(own, second, agent=agent.socket))
    assert got == [blob(pub(key)) for key in (second, first, own)]
    got = await offered(ring(), choice(own, second, agent=agent.socket, only_these=True))
    assert got == [blob(pub(key)) for key in (second, own)]


async def test_a_locked_key_that_the_agent_holds_is_not_asked_for(
    tmp_path: Path, ring: Ring, agent: Agent
) -> None:
    key = make_key(tmp_path / "k")
    agent.add(key)
    keygen("-p", "-P", "", "-N", "opensesame", "-f", str(key))
    pub(key).unlink()
    keys = ring()
    wanted = choice(key, source=OPTION, agent=agent.socket, only_these=True)
    await keys.load([wanted])
    [pair] = keys.pairs(wanted)
    assert pair.get_key_type() == "agent"


async def test_a_public_key_picks_one_of_the_agents(tmp_path: Path, ring: Ring, agent: Agent) -> None:
    first, second = make_key(tmp_path / "first"), make_key(tmp_path / "second")
    agent.add(first, second)
    second.unlink()
    for path in (second, pub(second)):
        got = await offered(ring(), choice(path, source=OPTION, agent=agent.socket, only_these=True))
        assert got == [blob(pub(second))]


async def test_a_certificate_on_disk_with_the_key_in_the_agent(
    tmp_path: Path, ring: Ring, agent: Agent
) -> None:
    ca, key = make_key(tmp_path / "ca"), make_key(tmp_path / "k")
    agent.add(key)
    certificate = certify(key, ca)
    key.unlink()
    keys = ring()
    wanted = choice(certificates=(str(certificate),), agent=agent.socket, only_these=True)
    await keys.load([wanted])
    [pair] = keys.pairs(wanted)
    assert pair.has_cert
    assert pair.get_key_type() == "agent"
    assert not keys.warnings


async def test_a_dead_agent_is_a_warning(tmp_path: Path, ring: Ring) -> None:
    key = make_key(tmp_path / "k")
    keys = ring()
    assert await offered(keys, choice(key, agent="/no/such/agent")) == [blob(pub(key))]
    assert keys.warnings == ["the agent at /no/such/agent is not used: No such file or directory"]


async def test_a_silent_agent_is_a_warning(tmp_path: Path, ring: Ring) -> None:
    hang = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hang.wait()
        writer.close()

    path = str(tmp_path / "silent")
    server = await asyncio.start_unix_server(say_nothing, path)
    keys = ring(agent_timeout_s=0.05)
    assert await offered(keys, choice(agent=path)) == []
    assert keys.warnings == [f"the agent at {path} is not used: no answer within 0.05 s"]
    hang.set()
    server.close()
    await server.wait_closed()


async def test_an_agent_that_talks_nonsense_is_a_warning(tmp_path: Path, ring: Ring) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\0\0\0\1\7")
        await writer.drain()
        writer.close()

    path = str(tmp_path / "nonsense")
    server = await asyncio.start_unix_server(hang_up, path)
    keys = ring()
    assert await offered(keys, choice(agent=path)) == []
    assert "is not used" in keys.warnings[0]
    server.close()
    await server.wait_closed()


# ---------------------------------------------------------------- sharing


async def test_each_connection_gets_its_own_pairs(tmp_path: Path, ring: Ring, agent: Agent) -> None:
    key, held = make_key(tmp_path / "k", "", "rsa"), make_key(tmp_path / "held", "", "rsa")
    agent.add(held)
    keys = ring()
    wanted = choice(key, agent=agent.socket)
    await keys.load([wanted])
    for pair in keys.pairs(wanted):
        pair.set_sig_algorithm(b"rsa-sha2-512")
    assert {pair.sig_algorithm for pair in keys.pairs(wanted)} == {b"ssh-rsa"}


async def test_real_connections_with_file_agent_and_certificate(
    tmp_path: Path, ring: Ring, agent: Agent
) -> None:
    ca, key, held, certified = (make_key(tmp_path / name) for name in ("ca", "k", "held", "certified"))
    agent.add(held)
    certificate = certify(certified, ca)
    allowed = tmp_path / "authorized"
    keys = ring()
    for line, wanted in (
        (pub(key).read_text(), choice(key)),
        (pub(held).read_text(), choice(key, agent=agent.socket)),
        (f"cert-authority {pub(ca).read_text()}", choice(certified, certificates=(str(certificate),))),
    ):
        allowed.write_text(line)
        server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[make_key(tmp_path / f"host{len(line)}{wanted.agent is None}")],
            authorized_client_keys=str(allowed),
        )
        await keys.load([wanted])
        for _ in range(2):
            connection = await asyncssh.connect(
                "127.0.0.1",
                server.get_port(),
                config=None,
                known_hosts=None,
                username="root",
                client_keys=keys.pairs(wanted),
                agent_path=None,
            )
            connection.close()
            await connection.wait_closed()
        server.close()
        await server.wait_closed()


def test_a_choice_is_made_of_settings(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("IdentityFile /k\nCertificateFile /c\nIdentitiesOnly yes\nIdentityAgent /a\n")
    got = KeyChoice.of(read_config(file=str(path)).target("x").settings)
    assert got == KeyChoice((Identity("/k", CONFIG),), ("/c",), "/a", only_these=True)


async def test_no_passphrase_is_told(tmp_path: Path, ring: Ring) -> None:
    key = make_key(tmp_path / "k", "opensesame")
    with pytest.raises(CredentialError) as caught:
        await offered(ring(ask=Person(["hidden word"] * 3)), choice(key))
    assert "hidden" not in str(caught.value)
    assert "hidden" not in repr(caught.value.__context__)
