"""Fixtures for tests on real sockets; what they are made of is in ``tests/servers``.

A test stands in a namespace by asking for ``in_namespace`` (a fresh one, with
no TIME_WAIT of earlier tests in it) or ``in_module_namespace`` (one for the
file, with ``sshd`` and ``dropbear`` in it). Then its sockets, its threads, its
children and its asyncio connections are there too.
"""

from __future__ import annotations

import inspect
import os
import signal
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import pytest
import pytest_asyncio
from hypothesis import settings

from tests.program import Program
from tests.servers.daemon import Daemon
from tests.servers.dropbear import start_dropbear
from tests.servers.hooked import Conduct, HookedServer
from tests.servers.leaks import Belongings, stray_tasks
from tests.servers.loop_thread import LoopThread
from tests.servers.namespace import Namespace
from tests.servers.rshd import RshServer
from tests.servers.scripted import RefusingPort, Script, ScriptedServer
from tests.servers.scripted_rshd import Back, ScriptedRshd, Step
from tests.servers.sshd import start_sshd


def _restore_signals() -> None:
    """Give this process, and so its children, the dispositions and the mask that a shell gives to a command.

    A background job of a shell without job control is started with SIGINT ignored, and nohup(1) ignores
    SIGHUP. multirsh respects that, as every program does, so tests that press Ctrl-C would wait for ever.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    ignored_by_python = {
        signal.SIGPIPE,
        signal.SIGXFSZ,
    }  # subprocess.Popen restores these two for its children
    for number in signal.valid_signals() - ignored_by_python:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _IN_PLACE_OF_IGNORED.get(number, signal.SIG_DFL))


_IN_PLACE_OF_IGNORED: Final = {
    signal.SIGINT: signal.default_int_handler,
    # nohup(1) is meant for the tests: they go on. A handler, unlike SIG_IGN, is not inherited through exec.
    signal.SIGHUP: lambda _number, _frame: None,
}

_restore_signals()

# Inputs decide, not how busy the machine is; and in CI the same inputs each time.
settings.register_profile("unhurried", deadline=None, derandomize="CI" in os.environ)
settings.register_profile("quick", deadline=None, derandomize=True, max_examples=10)  # tests/run --quick
settings.load_profile("unhurried")


@pytest.fixture(autouse=True, scope="session")
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep records out of the home of whoever runs the tests."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        yield folder


@pytest.fixture
def multirsh(tmp_path: Path) -> Program:
    """The program, in a home with nothing in it."""
    return Program(tmp_path / "home")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Take two workers a processor for ``-n auto``: more than half of the time goes by in waiting."""
    return 2 * len(os.sched_getaffinity(0))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let nothing be skipped in CI, whatever skips it: a mark, a fixture, a plugin."""
    report = yield
    if report.skipped and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"CI must not skip: {report.longrepr}"
    return report


StartServer = Callable[..., Daemon]
"""``start_sshd`` or ``start_dropbear`` with the test's namespace filled in; ended after the test."""


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """A fresh network namespace; the test still stands outside."""
    with Namespace() as made:
        yield made


@pytest.fixture(scope="module")
def module_namespace() -> Iterator[Namespace]:
    """One network namespace for the file; the test still stands outside."""
    with Namespace() as made:
        yield made


@pytest.fixture
def in_namespace(namespace: Namespace) -> Iterator[Namespace]:
    """Stand in ``namespace`` during the test."""
    with namespace.entered():
        yield namespace


@pytest.fixture
def in_module_namespace(module_namespace: Namespace) -> Iterator[Namespace]:
    """Stand in ``module_namespace`` during the test."""
    with module_namespace.entered():
        yield module_namespace


@pytest.fixture(scope="module")
def sshd(module_namespace: Namespace) -> Iterator[Daemon]:
    """One sshd for the file, in ``module_namespace``, where it is every 127.x.y.z."""
    with start_sshd(namespace=module_namespace) as server:
        yield server


@pytest.fixture(scope="module")
def dropbear(module_namespace: Namespace) -> Iterator[Daemon]:
    """One dropbear for the file, in ``module_namespace``, where it is every 127.x.y.z."""
    with start_dropbear(namespace=module_namespace) as server:
        yield server


@pytest.fixture(scope="module")
def rshd(module_namespace: Namespace) -> Iterator[RshServer]:
    """One in.rshd for the file, in ``module_namespace``, where it is every 127.x.y.z."""
    with RshServer(module_namespace) as server:
        yield server


@pytest.fixture
def sshd_here(namespace: Namespace) -> Iterator[StartServer]:
    """Start an sshd with options of the test's own, in ``namespace``: ``sshd_here(options={...})``."""
    with ExitStack() as servers:
        start = partial(start_sshd, namespace=namespace)
        yield lambda **settings: servers.enter_context(start(**settings))


@pytest.fixture
def dropbear_here(namespace: Namespace) -> Iterator[StartServer]:
    """Start a dropbear with arguments of the test's own, in ``namespace``."""
    with ExitStack() as servers:
        start = partial(start_dropbear, namespace=namespace)
        yield lambda **settings: servers.enter_context(start(**settings))


class StartScripted(Protocol):
    """What the ``scripted`` fixture is."""

    def __call__(
        self, script: Script, *, address: str = ..., port: int | None = ..., receive_buffer: int | None = ...
    ) -> ScriptedServer:
        """Start one."""


@pytest.fixture
def scripted(request: pytest.FixtureRequest) -> Iterator[StartScripted]:
    """Start scripted servers, all in one thread: ``scripted(SILENT).port``.

    They stand in ``namespace`` or ``module_namespace`` where the test asked for either, else in the machine's
    own network on loopback.
    """
    namespace = _namespace_of(request)
    with ExitStack() as servers:
        thread = LoopThread(namespace)
        servers.callback(thread.stop)

        def start(
            script: Script,
            *,
            address: str = "127.0.0.1",
            port: int | None = None,
            receive_buffer: int | None = None,
        ) -> ScriptedServer:
            return servers.enter_context(
                ScriptedServer(
                    script,
                    namespace=namespace,
                    address=address,
                    port=port,
                    loop_thread=thread,
                    receive_buffer=receive_buffer,
                )
            )

        yield start


@pytest.fixture
def refusing_port(request: pytest.FixtureRequest) -> Iterator[RefusingPort]:
    """A port that refuses, where ``scripted`` would stand."""
    with RefusingPort(namespace=_namespace_of(request)) as port:
        yield port


class StartScriptedRshd(Protocol):
    """What the ``scripted_rshd`` fixture is."""

    def __call__(self, *steps: Step, back: Back = ..., receive_buffer: int | None = ...) -> ScriptedRshd:
        """Start one."""


@pytest.fixture
def scripted_rshd(request: pytest.FixtureRequest) -> Iterator[StartScriptedRshd]:
    """Start rsh servers that misbehave, in the test's namespace: ``scripted_rshd(*BEGIN, Act.CLOSE)``."""
    namespace = _namespace_of(request)
    assert namespace is not None
    with ExitStack() as servers:

        def start(*steps: Step, back: Back = Back.GOOD, receive_buffer: int | None = None) -> ScriptedRshd:
            return servers.enter_context(
                ScriptedRshd(*steps, back=back, namespace=namespace, receive_buffer=receive_buffer)
            )

        yield start


class StartHooked(Protocol):
    """What the ``hooked`` fixture is."""

    def __call__(self, conduct: Conduct | None = ..., *, address: str = ...) -> HookedServer:
        """Start one."""


@pytest.fixture
def hooked(request: pytest.FixtureRequest) -> Iterator[StartHooked]:
    """Start asyncssh servers that misbehave: ``hooked(Conduct(session=drops()))``; where, as ``scripted``."""
    namespace = _namespace_of(request)
    with ExitStack() as servers:

        def start(conduct: Conduct | None = None, *, address: str = "127.0.0.1") -> HookedServer:
            return servers.enter_context(HookedServer(conduct, namespace=namespace, address=address))

        yield start


def _namespace_of(request: pytest.FixtureRequest) -> Namespace | None:
    for name in ("namespace", "module_namespace"):
        if name in request.fixturenames:
            found = request.getfixturevalue(name)
            assert isinstance(found, Namespace)
            return found
    return None


@pytest_asyncio.fixture
async def no_stray_tasks() -> AsyncIterator[None]:
    """Fail where a test leaves asyncio tasks behind; the loop's owner would cancel them in silence."""
    yield
    left = await stray_tasks()
    assert not left, f"tasks left behind: {left}"


@pytest.fixture
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail where a test leaves descriptors, children or tasks behind.

    Put ``pytestmark = pytest.mark.usefixtures("no_leaks")`` atop a file of wire tests: marked fixtures come
    first in line, so what the test's own fixtures hold is gone before the second look is taken. A fixture of
    the module that is first asked for by ``getfixturevalue`` within a test looks like a leak; ask by name.
    """
    function = getattr(request.node, "function", None)
    if inspect.iscoroutinefunction(function):
        # Before the first look, so that the loop's own descriptors are in both.
        request.getfixturevalue("no_stray_tasks")
    before = Belongings.now()
    yield
    left = before.added_since()
    assert not left, f"left behind: {left}"
