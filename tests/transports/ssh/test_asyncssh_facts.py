"""What our code takes for granted of asyncssh, one fact a test.

Some of it is private, some of it is behaviour that no document promises.
When a new release of asyncssh fails one of these tests, the docstring says
which part of ours leans on the fact.
"""

from __future__ import annotations

import ast
import asyncio
import copy
import functools
import inspect
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import asyncssh
import pytest
from asyncssh.public_key import decode_ssh_public_key

import multirsh
from multirsh.model import Phase
from multirsh.transports.ssh.asyncssh_internals import ClientConnection
from multirsh.transports.ssh.config import read_config
from multirsh.transports.ssh.login import base_options
from tests.conftest import StartHooked, StartScripted, StartServer
from tests.servers.hooked import (
    AtClose,
    Conduct,
    HookedServer,
    Link,
    Process,
    Session,
    answers,
    closes_without_status,
    drops,
)
from tests.servers.keys import make_key, public
from tests.servers.namespace import Namespace
from tests.servers.scripted import BANNER_THEN_SILENT

pytestmark = pytest.mark.usefixtures("no_leaks")

MSG_DISCONNECT: Final = 1
MSG_KEXINIT: Final = 20
"""Message numbers of RFC 4253, section 12."""

KnownHostsMatch: TypeAlias = tuple[Sequence[Any], ...]

NO_HOST_KEYS: Final[KnownHostsMatch] = ([], [], [], [], [], [], [])
"""A match of known_hosts that found nothing: keys, CA keys, revoked keys, and four lists about X.509."""


def ready_made(user: str = "root") -> asyncssh.SSHClientConnectionOptions:
    """The options that the transport makes once for many connections."""
    settings = read_config(file="none", options=[f"User={user}"]).target("127.0.0.1").settings
    return base_options(settings)


@dataclass
class Client(asyncssh.SSHClient):
    """Remembers what asyncssh asked, and trusts every key unless told otherwise."""

    trusts: bool = True
    asked_about: list[asyncssh.SSHKey] = field(default_factory=list)

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.asked_about.append(key)
        return self.trusts


@dataclass(frozen=True)
class Attempt:
    """One connection made by hand, as ``SshConnection`` makes it."""

    link: asyncssh.SSHClientConnection
    waiter: asyncio.Future[None]
    client: Client


Constructor = Callable[
    [asyncio.AbstractEventLoop, asyncssh.SSHClientConnectionOptions], asyncssh.SSHClientConnection
]


def stock(
    loop: asyncio.AbstractEventLoop, options: asyncssh.SSHClientConnectionOptions
) -> asyncssh.SSHClientConnection:
    return asyncssh.SSHClientConnection(loop, options, wait="auth")


def polite(
    loop: asyncio.AbstractEventLoop, options: asyncssh.SSHClientConnectionOptions
) -> asyncssh.SSHClientConnection:
    return polite_telling(lambda _phase: None)(loop, options)


def polite_telling(on_phase: Callable[[Phase], None]) -> Constructor:
    """Ours, which takes any host key."""

    def constructor(
        loop: asyncio.AbstractEventLoop, options: asyncssh.SSHClientConnectionOptions
    ) -> asyncssh.SSHClientConnection:
        return ClientConnection(
            loop, options, judge=decode_ssh_public_key, on_phase=on_phase, warn=lambda _message: None
        )

    return constructor


@asynccontextmanager
async def attempt(
    port: int,
    *,
    base: asyncssh.SSHClientConnectionOptions | None = None,
    constructor: Constructor = stock,
    client: Client | None = None,
    **changed: object,
) -> AsyncIterator[Attempt]:
    """Connect over asyncio's own transport, with a shallow copy of ``base`` in which ``changed`` is set."""
    loop = asyncio.get_running_loop()
    options = copy.copy(ready_made() if base is None else base)
    waiter: asyncio.Future[None] = loop.create_future()
    asked = Client() if client is None else client
    options.waiter = waiter
    options.host, options.port = "127.0.0.1", port
    options.protocol_factory = lambda: asked
    options.known_hosts = NO_HOST_KEYS
    for name, value in changed.items():
        setattr(options, name, value)
    link = constructor(loop, options)
    transport, _ = await loop.create_connection(lambda: link, "127.0.0.1", port)
    sock = transport.get_extra_info("socket")
    try:
        yield Attempt(link, waiter, asked)
    finally:
        link.close()
        await link.wait_closed()
        waiter.cancel()
        while sock.fileno() >= 0:  # noqa: ASYNC110 - asyncio closes it a turn after its protocol was told
            await asyncio.sleep(0)


def keys_of(server: HookedServer) -> list[asyncssh.SSHKeyPair]:
    return list(asyncssh.load_keypairs([str(server.client_key)]))


def host_key_of(server: HookedServer) -> asyncssh.SSHKey:
    return asyncssh.import_public_key(server.host_key)


def trusting(*keys: asyncssh.SSHKey) -> KnownHostsMatch:
    return (list(keys), *NO_HOST_KEYS[1:])


@asynccontextmanager
async def plainly(server: HookedServer) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """asyncssh as its documentation has it."""
    async with asyncssh.connect(
        "127.0.0.1",
        server.port,
        username="root",
        client_keys=[str(server.client_key)],
        known_hosts=None,
        config=None,
        agent_path=None,
    ) as connection:
        yield connection


class TestWhyOurOwnTransport:
    """``transports.remote_first``: asyncssh closes at its own end, and does not wait."""

    @pytest.mark.root
    async def test_its_own_close_sends_our_fin_first(
        self, hooked: StartHooked, in_namespace: Namespace
    ) -> None:
        server = hooked(Conduct(at_close=AtClose.IGNORES))
        async with plainly(server):
            pass
        # The server has not closed and we have: half of the connection is ours to keep.
        await asyncio.to_thread(in_namespace.wait_client_side, [server.port], ["FIN-WAIT-2"])

    @pytest.mark.root
    async def test_its_own_close_leaves_time_wait_with_sshd(
        self, sshd_here: StartServer, in_namespace: Namespace
    ) -> None:
        server = sshd_here()
        for _ in range(10):
            async with asyncssh.connect(
                "127.0.0.1",
                server.port,
                username=server.user,
                client_keys=[str(server.client_key)],
                known_hosts=None,
                config=None,
                agent_path=None,
            ) as connection:
                await connection.run("true")
        await asyncio.to_thread(server.log.wait_for, "Received disconnect", times=10)
        # sshd, being told, closes at once too, and may win the race now and then.
        assert in_namespace.client_side([server.port], state="TIME-WAIT")

    async def test_abort_follows_the_goodbye_in_the_next_turn(self, scripted: StartScripted) -> None:
        """So a transport that drops its buffer in ``abort()`` would drop the goodbye."""
        server = scripted(BANNER_THEN_SILENT)
        async with attempt(server.port) as made:
            await until_exchanging_keys(made)
            transport = recorded(made.link)
            made.link.close()
            assert transport.calls == ["write"]
            await asyncio.sleep(0)
            assert transport.calls == ["write", "abort"]


class TestTheGoodbye:
    """``transports.ssh.asyncssh_internals``: the goodbye that asyncssh does not always say."""

    @pytest.mark.root
    @pytest.mark.parametrize(
        ("constructor", "said"), [(stock, False), (polite, True)], ids=["asyncssh", "ours"]
    )
    async def test_after_a_refused_login(
        self,
        *,
        constructor: Constructor,
        said: bool,
        sshd_here: StartServer,
        in_namespace: Namespace,
        tmp_path: Path,
    ) -> None:
        server = sshd_here()
        strangers = list(asyncssh.load_keypairs([str(make_key(tmp_path / "stranger"))]))
        async with attempt(server.port, constructor=constructor, client_keys=strangers) as made:
            with pytest.raises(asyncssh.PermissionDenied):
                await made.waiter
        ending = await asyncio.to_thread(
            server.log.wait_for, r"(Disconnected from|Connection closed by) authenticating user"
        )
        assert ("Disconnected from" in ending) is said
        assert bool(server.log.count("Received disconnect")) is said

    def test_the_methods_we_replace_are_there(self) -> None:
        names = {
            name: list(inspect.signature(getattr(asyncssh.SSHClientConnection, name)).parameters)
            for name in ("_force_close", "_send_disconnect", "validate_server_host_key")
        }
        assert names == {
            "_force_close": ["self", "exc"],
            "_send_disconnect": ["self", "code", "reason", "lang"],
            "validate_server_host_key": ["self", "key_data"],
        }

    async def test_the_transport_is_there_until_the_close_and_not_after(
        self, scripted: StartScripted
    ) -> None:
        server = scripted(BANNER_THEN_SILENT)
        async with attempt(server.port) as made:
            assert isinstance(made.link._transport, asyncio.Transport)
            made.link.close()
            assert made.link._transport is None

    async def test_closing_says_goodbye_and_then_forces_the_close(self, scripted: StartScripted) -> None:
        calls: list[str] = []

        class Told(asyncssh.SSHClientConnection):
            def _send_disconnect(self, code: int, reason: str, lang: str) -> None:
                calls.append("goodbye")
                super()._send_disconnect(code, reason, lang)

            def _force_close(self, exc: Exception | None) -> None:
                calls.append("force")
                super()._force_close(exc)

        server = scripted(BANNER_THEN_SILENT)
        async with attempt(server.port, constructor=lambda loop, options: Told(loop, options, wait="auth")):
            pass
        assert calls[:2] == ["goodbye", "force"]

    @pytest.mark.parametrize("constructor", [stock, polite])
    async def test_it_is_not_held_back_by_a_key_exchange_that_never_ends(
        self, constructor: Constructor, scripted: StartScripted
    ) -> None:
        """A host that is given up on in the middle of its handshake is still told."""
        server = scripted(BANNER_THEN_SILENT)
        async with attempt(server.port, constructor=constructor) as made:
            await until_exchanging_keys(made)
        (talk,) = await asyncio.to_thread(server.wait_for, lambda talks: bool(talks and talks[0].seen))
        assert kinds_of_packets(bytes(talk.received)) == [MSG_KEXINIT, MSG_DISCONNECT]

    async def test_it_is_not_held_back_by_a_rekey(self, hooked: StartHooked) -> None:
        server = hooked(Conduct())
        async with attempt(server.port, client_keys=keys_of(server)) as made:
            await made.waiter
            transport = recorded(made.link)
            made.link._send_kexinit()
            made.link.close()
            assert transport.calls == ["write", "write"], "the proposal, and the goodbye behind it"

    async def test_a_keys_verdict_comes_before_anything_else_of_the_login(self, hooked: StartHooked) -> None:
        """``ClientConnection`` tells the phase by it."""
        phases: list[Phase] = []
        server = hooked(Conduct(replies_to_auth=False))
        async with attempt(
            server.port,
            constructor=polite_telling(phases.append),
        ):
            await until(lambda: bool(phases))
        assert phases == [Phase.AUTH]


class TestOptionsMadeOnce:
    """``transports.ssh.plan``: one options object for many hosts, copied and changed a little for each."""

    def test_a_connection_takes_loop_options_and_what_to_wait_for(self) -> None:
        parameters = list(inspect.signature(asyncssh.SSHClientConnection).parameters)
        assert parameters[:2] == ["loop", "options"]
        assert "wait" in parameters

    async def test_the_waiter_is_done_when_the_login_is_through(self, hooked: StartHooked) -> None:
        server = hooked(Conduct(session=answers(b"hello")))
        async with attempt(server.port, client_keys=keys_of(server)) as made:
            assert not made.waiter.done()
            await made.waiter
            assert (await made.link.run("any", stdin=asyncssh.DEVNULL)).stdout == b"hello"

    async def test_a_waiter_that_was_cancelled_is_left_alone(self, hooked: StartHooked) -> None:
        """A host is given up on by cancelling; asyncssh must not choke on that later."""
        server = hooked(Conduct(replies_to_auth=False))
        async with attempt(server.port, client_keys=keys_of(server)) as made:
            made.waiter.cancel()
        assert made.link.is_closed()

    async def test_every_field_of_a_copy_counts_for_that_copy_alone(self, hooked: StartHooked) -> None:
        base = ready_made()
        before = dict(vars(base))
        server = hooked(Conduct())
        known = trusting(host_key_of(server))
        async with (
            attempt(server.port, base=base, known_hosts=known, client_keys=keys_of(server)) as first,
            attempt(server.port, base=base, client_keys=[], password=server.password) as second,
        ):
            await first.waiter
            await second.waiter
            assert first.client.asked_about == [], "a known key is trusted without a question"
            assert second.client.asked_about == [host_key_of(server)]
        changed = {
            name
            for name, value in vars(base).items()
            if name not in before or (value is not before[name] and value != before[name])
        }
        assert not changed, "the shared one is as it was"

    async def test_known_hosts_may_be_the_match_itself_and_revoked_keys_are_refused(
        self, hooked: StartHooked
    ) -> None:
        """``base_options`` gives an empty one: keys are judged by us, and no file is read."""
        server = hooked(Conduct())
        revoked: KnownHostsMatch = ([], [], [host_key_of(server)], [], [], [], [])
        async with attempt(server.port, known_hosts=revoked, client_keys=keys_of(server)) as made:
            with pytest.raises(asyncssh.HostKeyNotVerifiable, match="is revoked"):
                await made.waiter
            assert made.client.asked_about == []

    async def test_a_key_that_is_not_trusted_ends_the_connection(self, hooked: StartHooked) -> None:
        server = hooked(Conduct())
        async with attempt(server.port, client=Client(trusts=False)) as made:
            with pytest.raises(asyncssh.HostKeyNotVerifiable):
                await made.waiter

    async def test_a_password_may_be_a_function_that_is_awaited_when_it_is_needed(
        self, hooked: StartHooked
    ) -> None:
        server = hooked(Conduct())
        asked: list[list[asyncssh.SSHKey]] = []

        async def tell() -> str:
            asked.append(list(made.client.asked_about))
            await asyncio.sleep(0)
            return server.password

        async with attempt(server.port, client_keys=[], password=tell) as made:
            await made.waiter
        assert asked == [[host_key_of(server)]], "once, and after the host's key was judged"

    async def test_a_password_that_is_not_told_is_not_sent(self, hooked: StartHooked) -> None:
        server = hooked(Conduct())

        async def tell_not() -> None:
            return None

        async with attempt(server.port, client_keys=[], password=tell_not) as made:
            with pytest.raises(asyncssh.PermissionDenied):
                await made.waiter

    @pytest.mark.parametrize("ours", [True, False], ids=["ours", "asyncssh's defaults"])
    def test_our_arguments_make_it_read_no_file_of_the_user(self, *, ours: bool, tmp_path: Path) -> None:
        """asyncssh's defaults do, for each connection; a thousand hosts would read them a thousand times."""
        folder = tmp_path / ".ssh"
        folder.mkdir()
        (folder / "config").write_text("User somebody\n")
        (folder / "known_hosts").write_text("")
        make_key(folder / "id_ed25519")
        watched = subprocess.run(
            [sys.executable, "-c", WATCH_OPENS, *(["ours"] if ours else [])],
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            text=True,
        )
        opened = {path for path in watched.stdout.splitlines() if "/.ssh/" in path or "/etc/ssh" in path}
        assert bool(opened) is not ours, opened


WATCH_OPENS = """
import sys
import asyncssh
from multirsh.transports.ssh.config import read_config
from multirsh.transports.ssh.login import base_options

settings = read_config(file="none").target("host").settings
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
if sys.argv[1:]:
    base_options(settings)
else:
    asyncssh.SSHClientConnectionOptions()
print(*opened, sep="\\n")
"""
"""Prints what was opened while options were made; audit events are those of Python's own audit table."""


class TestWhatAServerMayOpen:
    """``ClientConnection`` answers for each kind of channel by a method of this name."""

    def test_each_kind_of_channel_has_a_method(self) -> None:
        kinds = {
            name.removeprefix("_process_").removesuffix("_open")
            for name in dir(asyncssh.SSHClientConnection)
            if name.startswith("_process_") and name.endswith("_open")
        }
        refused_by_asyncssh = {
            "session",
            "direct_tcpip",
            "direct_streamlocal_at_openssh_dot_com",
            "tun_at_openssh_dot_com",
        }
        answered_by_us = {
            "auth_agent_at_openssh_dot_com",
            "forwarded_tcpip",
            "forwarded_streamlocal_at_openssh_dot_com",
            "x11",
        }
        assert kinds - {"channel"} == refused_by_asyncssh | answered_by_us
        assert {f"_process_{kind}_open" for kind in answered_by_us} <= vars(ClientConnection).keys()

    async def test_the_agents_socket_may_be_set_for_each_connection(self, hooked: StartHooked) -> None:
        server = hooked(Conduct())
        async with attempt(server.port, agent_forward_path="/socket") as made:
            assert made.link._agent_forward_path == "/socket"


class TestHostKeyAlgorithms:
    """``HostKeyCheck.algorithms``: asyncssh asks only for kinds of key that are known."""

    async def test_known_kinds_are_all_that_is_asked_for_so_a_changed_key_is_never_seen(
        self, hooked: StartHooked, tmp_path: Path
    ) -> None:
        server = hooked(Conduct())
        known = trusting(other_kind_of_key(tmp_path))
        async with attempt(server.port, known_hosts=known) as made:
            # No common algorithm; a server that finds it out sooner closes, and its FIN may come first.
            with pytest.raises((asyncssh.KeyExchangeFailed, asyncssh.ConnectionLost)):
                await made.waiter
            assert made.client.asked_about == []

    async def test_unless_they_are_named_and_then_the_key_is_judged(
        self, hooked: StartHooked, tmp_path: Path
    ) -> None:
        server = hooked(Conduct())
        known = trusting(other_kind_of_key(tmp_path))
        named = ["ecdsa-sha2-nistp256", "ssh-ed25519"]
        async with attempt(
            server.port, known_hosts=known, server_host_key_algs=named, client_keys=keys_of(server)
        ) as made:
            await made.waiter
            assert made.client.asked_about == [host_key_of(server)]


class TestChannels:
    """``transports.ssh.session``: why a session of our own, and bytes."""

    @pytest.mark.parametrize("resumes", [False, True])
    async def test_what_is_held_back_when_the_connection_dies_is_dropped_unless_taken_then(
        self, *, resumes: bool, hooked: StartHooked
    ) -> None:
        """``CommandSession.connection_lost`` takes it."""
        server = hooked(Conduct(session=says_two_things))
        listener = Listener(resumes=resumes)
        async with attempt(server.port, client_keys=keys_of(server)) as made:
            await made.waiter
            await made.link.create_session(lambda: listener, "any", encoding=None)
            await within(listener.ended)
        assert listener.heard == ([b"first", b"second"] if resumes else [b"first"])

    @pytest.mark.parametrize(
        "session", [drops(b"partial"), closes_without_status(b"partial")], ids=["lost", "no status"]
    )
    async def test_run_returns_without_a_status_as_if_nothing_had_happened(
        self, session: Session, hooked: StartHooked
    ) -> None:
        """Which is why ``None`` is ``lost`` with us, and never ``ok``."""
        server = hooked(Conduct(session=session))
        async with plainly(server) as connection:
            result = await connection.run("any", stdin=asyncssh.DEVNULL)
        assert (result.exit_status, result.exit_signal, result.returncode) == (None, None, None)

    async def test_one_byte_that_is_not_utf_8_ends_the_connection_and_loses_the_output(
        self, hooked: StartHooked
    ) -> None:
        """Which is why channels are opened with ``encoding=None``."""
        server = hooked(Conduct(session=answers(b"caf\xe9\n")))
        async with plainly(server) as connection:
            result = await connection.run("any", stdin=asyncssh.DEVNULL)
            await connection.wait_closed()
        assert result.stdout == "", "and there is no exception"

    async def test_with_no_encoding_bytes_are_bytes(self, hooked: StartHooked) -> None:
        server = hooked(Conduct(session=answers(b"caf\xe9\n")))
        async with plainly(server) as connection:
            result = await connection.run("any", stdin=asyncssh.DEVNULL, encoding=None)
        assert (result.stdout, result.returncode) == (b"caf\xe9\n", 0)


# What the tests above are made of.

T = TypeVar("T")


async def within(awaitable: asyncio.Future[T], seconds: float = 5) -> T:
    async with asyncio.timeout(seconds):
        return await awaitable


async def until(holds: Callable[[], bool], seconds: float = 5) -> None:
    """Wait for something that asyncssh or another thread brings about, and tells nobody of."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.005)


async def until_exchanging_keys(made: Attempt) -> None:
    """Wait until our proposal is sent; the scripted server will never answer it."""
    await until(lambda: made.link._kexinit_sent)


class Recorded(asyncio.Transport):
    """A transport that notes what is asked of it, and then does it."""

    def __init__(self, inner: asyncio.Transport) -> None:
        super().__init__()
        self._inner = inner
        self.calls: list[str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.calls.append("write")
        self._inner.write(data)

    def abort(self) -> None:
        self.calls.append("abort")
        self._inner.abort()

    def is_closing(self) -> bool:
        return self._inner.is_closing()


def recorded(link: asyncssh.SSHClientConnection) -> Recorded:
    """Put a ``Recorded`` before the transport of ``link``."""
    inner = link._transport
    assert isinstance(inner, asyncio.Transport)
    link._transport = wrapper = Recorded(inner)
    return wrapper


def kinds_of_packets(sent: bytes) -> list[int]:
    """The message numbers of what a client sent in clear, after its banner (RFC 4253, section 6)."""
    _banner, _, rest = sent.partition(b"\r\n")
    kinds = []
    while rest:
        length = int.from_bytes(rest[:4], "big")
        kinds.append(rest[5])
        rest = rest[4 + length :]
    return kinds


def other_kind_of_key(folder: Path) -> asyncssh.SSHKey:
    """A key of a kind that the servers here do not have."""
    return asyncssh.import_public_key(public(make_key(folder / "ecdsa", kind="ecdsa")))


async def says_two_things(process: Process, link: Link) -> None:
    """Say one thing, be told that it was heard, say another, and lose the connection."""
    process.stdout.write(b"first")
    await process.stdin.read(1)
    process.stdout.write(b"second")
    await process.stdout.drain()
    link.fin()


class Listener(asyncssh.SSHClientSession[bytes]):
    """Takes the first thing, and holds back whatever comes after it."""

    def __init__(self, *, resumes: bool) -> None:
        self._resumes = resumes
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self.heard: list[bytes] = []
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self.heard.append(data)
        if self._channel is not None and len(self.heard) == 1:
            self._channel.pause_reading()
            self._channel.write(b"!")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._resumes and self._channel is not None:
            self._channel.resume_reading()
        self.ended.set_result(None)


class TestPrivateNames:
    """``transports.ssh.asyncssh_internals`` alone uses what asyncssh does not promise."""

    def test_they_are_used_in_one_module(self) -> None:
        """No other module uses a private attribute of asyncssh's objects, or overrides one in a subclass."""
        found = {path: names for path, tree in modules() if (names := private_names(tree))}
        assert list(found) == [INTERNALS]

    def test_its_docstring_lists_each(self) -> None:
        (tree,) = [tree for path, tree in modules() if path == INTERNALS]
        listed = ast.get_docstring(tree) or ""
        assert [name for name in sorted(private_names(tree)) if f"``{name}``" not in listed] == []


INTERNALS: Final = "transports/ssh/asyncssh_internals.py"


def modules() -> list[tuple[str, ast.Module]]:
    """The modules of multirsh that import asyncssh, by their paths in the package."""
    (folder,) = multirsh.__path__
    trees = [
        (str(file.relative_to(folder)), ast.parse(file.read_text(encoding="utf-8")))
        for file in sorted(Path(folder).rglob("*.py"))
    ]
    return [(path, tree) for path, tree in trees if "import asyncssh" in ast.unparse(tree)]


def private_names(tree: ast.Module) -> set[str]:
    """The private names of asyncssh in a module: of other objects, or overridden or used by a subclass."""
    private = private_in_asyncssh()
    found = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in private
        if not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"})
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            found |= names_in([ast.unparse(node)]) & names_in(base_sources(node))
    return found


def base_sources(node: ast.ClassDef) -> list[str]:
    """The texts of the classes of asyncssh that a class inherits from."""
    bases = [ast.unparse(base).partition("[")[0].removeprefix("asyncssh.") for base in node.bases]
    classes = [getattr(asyncssh, name) for name in bases if isinstance(getattr(asyncssh, name, None), type)]
    return [
        inspect.getsource(each)
        for base in classes
        for each in base.__mro__
        if each.__module__.startswith("asyncssh.")
    ]


@functools.cache
def private_in_asyncssh() -> set[str]:
    """The private names of asyncssh's connections and channels."""
    return names_in(
        [inspect.getsource(sys.modules[f"asyncssh.{name}"]) for name in ("connection", "channel")]
    )


def names_in(sources: Sequence[str]) -> set[str]:
    """The private attributes and methods that are named in ``sources``."""
    return {
        name
        for source in sources
        for node in ast.walk(ast.parse(source))
        if (name := node.attr if isinstance(node, ast.Attribute) else getattr(node, "name", None))
        if name.startswith("_") and not name.startswith("__")
    }
