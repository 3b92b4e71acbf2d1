"""The model of the kernel beside the kernel: what it lets be bound and connected, case by case."""

from __future__ import annotations

import errno
import itertools
import socket
from contextlib import ExitStack

import pytest

from multirsh.ports.sockets import Endpoint, TcpState
from tests.ports.kernel_model import ANY_ADDRESS, KernelModel, Recycled, Socket
from tests.servers.namespace import Namespace

pytestmark = pytest.mark.root

HERE = "127.0.0.1"
SERVER = Endpoint("127.0.0.9", 514)
STATES = (TcpState.CLOSE, TcpState.LISTEN, TcpState.ESTABLISHED, TcpState.TIME_WAIT)
GOES = 0
RECYCLED = -1
UNKNOWN = -2


class Kernel:
    """The real one: a server, and sockets that are brought into a state."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._server = stack.enter_context(socket.create_server(SERVER, backlog=100))

    def bound(self, address: str, port: int, *, reuse: bool) -> socket.socket:
        sock = self._stack.enter_context(socket.socket())
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        sock.bind((address, port))
        return sock

    def bring_about(self, state: TcpState, port: int, *, reuse: bool) -> None:
        sock = self.bound(HERE, port, reuse=reuse)
        if state is TcpState.LISTEN:
            sock.listen()
        elif state is not TcpState.CLOSE:
            sock.connect(SERVER)
            accepted = self._stack.enter_context(self._server.accept()[0])
            if state is TcpState.TIME_WAIT:
                sock.close()
                accepted.recv(1)
                accepted.close()

    def answer(self, address: str, port: int, *, reuse: bool, then: str) -> int:
        try:
            sock = self.bound(address, port, reuse=reuse)
            if then == "listen":
                sock.listen()
            elif then == "connect":
                sock.connect(SERVER)
        except OSError as error:
            return error.errno or UNKNOWN
        return GOES


def model_of(state: TcpState, port: int, *, reuse: bool) -> KernelModel:
    model = KernelModel(ephemeral=())
    sock = model.bind(HERE, port, reuse=reuse, is_ours=True)
    if state is TcpState.LISTEN:
        model.listen(sock)
    elif state is not TcpState.CLOSE:
        model.connect(sock, SERVER)
        model.established(sock)
        if state is TcpState.TIME_WAIT:
            model.closed_by_local(sock, state, 0, late=0)
    return model


def models_answer(model: KernelModel, address: str, port: int, *, reuse: bool, then: str) -> int:
    sock: Socket | None = None
    try:
        sock = model.bind(address, port, reuse=reuse, is_ours=True)
        if then == "listen":
            model.listen(sock)
        elif then == "connect":
            model.connect(sock, SERVER)
    except OSError as error:
        return error.errno or UNKNOWN
    except Recycled:
        return RECYCLED
    return GOES


@pytest.mark.parametrize("state", STATES)
def test_what_may_be_bound_beside_what(state: TcpState, in_namespace: Namespace) -> None:
    ports = iter(range(600, 1024))
    cases = itertools.product((False, True), (False, True), (HERE, "127.0.0.2", ANY_ADDRESS), ("", "listen"))
    with ExitStack() as stack:
        kernel = Kernel(stack)
        for first, second, address, then in cases:
            port = next(ports)
            kernel.bring_about(state, port, reuse=first)
            seen = kernel.answer(address, port, reuse=second, then=then)
            model = model_of(state, port, reuse=first)
            assert models_answer(model, address, port, reuse=second, then=then) == seen, (
                f"{state.name}, SO_REUSEADDR {first} and {second}, {address} {then}"
            )


@pytest.mark.parametrize(
    ("state", "models", "kernels"),
    [
        (TcpState.ESTABLISHED, errno.EADDRNOTAVAIL, errno.EADDRNOTAVAIL),
        (TcpState.TIME_WAIT, RECYCLED, GOES),
    ],
)
def test_which_four_tuples_may_be_connected_again(
    state: TcpState, models: int, kernels: int, in_namespace: Namespace
) -> None:
    with ExitStack() as stack:
        kernel = Kernel(stack)
        kernel.bring_about(state, 1023, reuse=True)
        assert kernel.answer(HERE, 1023, reuse=True, then="connect") == kernels
    model = model_of(state, 1023, reuse=True)
    assert models_answer(model, HERE, 1023, reuse=True, then="connect") == models


def test_the_kernel_passes_over_ports_that_somebody_has_bound(in_namespace: Namespace) -> None:
    in_namespace.set_sysctl("net.ipv4.ip_local_port_range", "40000 40001")
    model = KernelModel(ephemeral=range(40000, 40002))
    with ExitStack() as stack:
        kernel = Kernel(stack)
        kernel.bound("127.0.0.2", 40000, reuse=True)
        model.bind("127.0.0.2", 40000, reuse=True)
        sock = stack.enter_context(socket.socket())
        sock.connect(SERVER)
        assert sock.getsockname()[1] == model.connect_unbound(HERE, SERVER).local.port == 40001
        with pytest.raises(OSError, match="Cannot assign"):
            stack.enter_context(socket.socket()).connect(SERVER)
        with pytest.raises(OSError, match="no port"):
            model.connect_unbound(HERE, SERVER)
