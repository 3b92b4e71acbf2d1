"""Everything that uses private parts of asyncssh: a connection that says goodbye, and a channel's window.

asyncssh sends SSH_MSG_DISCONNECT when its user closes the connection, but
not when authentication fails and not on an error of its own: it just drops
the socket. A server that gets no SSH_MSG_DISCONNECT keeps its end open until
its login grace time, so the remote could never close first.
``ClientConnection`` sends the message in those cases, too.

A server may open channels by itself (RFC 4254). The only one that can be
accepted is the agent's, if it is forwarded; all others are refused, and
reported where ssh warns of them.

asyncssh logs the command line at INFO, values of environment variables
included, and with packet dumps also passwords and what is sent as standard
input. The program that uses multirsh decides in its logging configuration
whether that is printed, and may not know. So connections of multirsh have a
logger that is silent at every level. asyncssh's own logger, which other
connections of that program may use, stays as it is.

The private names of asyncssh that are used here, and in no other module:

- of a connection: ``_transport``, ``_force_close``, ``_send_disconnect``, ``_agent_forward_path``;
- the handlers of a server's channels: ``_process_auth_agent_at_openssh_dot_com_open``, ``_process_x11_open``,
  ``_process_forwarded_tcpip_open``, ``_process_forwarded_streamlocal_at_openssh_dot_com_open``;
- of a channel: ``_init_recv_window``, ``_recv_window``.

tests/transports/ssh/test_asyncssh_facts.py and test_session.py fail when a new release changes them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final, NoReturn, Self, TypeAlias

import asyncssh
from asyncssh.constants import MSG_CHANNEL_WINDOW_ADJUST
from asyncssh.logging import SSHLogger
from asyncssh.packet import UInt32

from multirsh.model import Phase
from multirsh.shortage import relieve

Judge: TypeAlias = Callable[[bytes], asyncssh.SSHKey]
"""Returns the plain key of a host's key or certificate, or raises ``asyncssh.HostKeyNotVerifiable``."""

_KEY_OPTIONS: Final = re.compile(r": key options:(.*)\Z")

SAID_BYTES: Final = 256
"""How many bytes of a remote's first output are kept."""


class _SilentLogger(SSHLogger):
    """A logger for asyncssh that discards everything, without the cost of formatting each message."""

    def get_child(self, child: str = "", context: str = "") -> Self:  # noqa: ARG002 - asyncssh's signature
        """Return this logger for a channel, too."""
        return self

    def log(self, level: int, msg: object, *args: object, **kwargs: object) -> None:
        """Discard the message; all other methods but the three below end here."""

    def debug1(self, msg: str, *args: object, **kwargs: object) -> None:
        """Discard the message."""

    def debug2(self, msg: str, *args: object, **kwargs: object) -> None:
        """Discard the message."""

    def packet(self, pktid: int | None, packet: bytes, msg: str, *args: object, **kwargs: object) -> None:
        """Discard the packet."""


_SILENT: Final = _SilentLogger()


class ClientConnection(asyncssh.SSHClientConnection):
    """An SSH client connection that sends SSH_MSG_DISCONNECT before it closes (RFC 4253, section 11.1).

    Attributes:
        is_forced: Whether the server has announced a forced command, which it runs in place of any other.
    """

    logger = _SILENT  # for the key exchange, the login and the channels, too; read for every message

    _goodbye_sent = False
    _is_known = False
    _first_bytes = b""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: asyncssh.SSHClientConnectionOptions,
        *,
        judge: Judge,
        on_phase: Callable[[Phase], None],
        warn: Callable[[str], None],
    ) -> None:
        """Prepare a connection.

        Args:
            loop: Passed to asyncssh.
            options: Passed to asyncssh.
            judge: Decides about the host's key.
            on_phase: Called when the host's key is accepted and the login begins.
            warn: Shows a warning about the server to the user; the text does not name the server.
        """
        super().__init__(loop, options, wait="auth")
        self._judge = judge
        self._on_phase = on_phase
        self._warn = warn
        self._refused: set[str] = set()
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._is_reading = False
        self._when_read: list[Callable[[], None]] = []
        self.is_forced = False

    @property
    def said(self) -> bytes:
        """What the remote sent instead of its SSH version, which asyncssh skips (RFC 4253, section 4.2).

        At most ``SAID_BYTES``, and empty once the version has been received.
        """
        return b"" if self.get_extra_info("server_version") else self._first_bytes.strip()

    def data_received(self, data: bytes, datatype: asyncssh.DataType = None) -> None:
        """Process received data; the first bytes are kept."""
        if not self._is_known and len(self._first_bytes) < SAID_BYTES:
            self._first_bytes += data[: SAID_BYTES - len(self._first_bytes)]
        self._is_reading = True
        try:
            super().data_received(data, datatype)
        except MemoryError:  # asyncssh handles all else itself
            relieve()
            self.internal_error()
        finally:
            self._is_reading = False
            self._call_when_read()

    def when_read(self, call: Callable[[], None]) -> bool:
        """Call ``call`` once the data that was just read has been parsed completely.

        Returns:
            ``False`` if nothing is being read; ``call`` is not called then.
        """
        if self._is_reading:
            self._when_read.append(call)
        return self._is_reading

    def _call_when_read(self) -> None:
        calls, self._when_read = self._when_read, []
        for call in calls:
            try:
                call()
            except Exception:  # noqa: BLE001 - as asyncssh does with what a session raises: the connection ends
                self.internal_error()

    def pause_writing(self) -> None:
        """Note that the transport's buffer is full: asyncssh itself goes on writing."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """Note that the transport's buffer has drained."""
        self._may_write.set()

    async def may_write(self) -> None:
        """Wait until the transport's buffer has drained."""
        await self._may_write.wait()

    def validate_server_host_key(self, key_data: bytes) -> asyncssh.SSHKey:
        """Check the host's key; after the first time, the login follows."""
        key = self._judge(key_data)
        if not self._is_known:  # otherwise this is a rekey
            self._is_known = True
            self._first_bytes = b""
            self._on_phase(Phase.AUTH)
        return key

    def withhold_agent(self, reason: str) -> None:
        """Stop forwarding the agent.

        Args:
            reason: Why, for the user.
        """
        if self._agent_forward_path:
            self._agent_forward_path = None
            self._warn(f"the ssh agent is not forwarded: {reason}")

    def _process_auth_agent_at_openssh_dot_com_open(self, packet: Any) -> Any:
        if not self._agent_forward_path:
            self._refuse("use the ssh agent")
        return super()._process_auth_agent_at_openssh_dot_com_open(packet)

    def _process_x11_open(self, _packet: Any) -> NoReturn:
        self._refuse("open a window on the X11 display")

    def _process_forwarded_tcpip_open(self, _packet: Any) -> NoReturn:
        self._refuse("forward a TCP connection")

    def _process_forwarded_streamlocal_at_openssh_dot_com_open(self, _packet: Any) -> NoReturn:
        self._refuse("forward a Unix-domain connection")

    def _refuse(self, attempt: str) -> NoReturn:
        """Refuse a channel that was not requested, and warn once, as ssh does (clientloop.c)."""
        if attempt not in self._refused:
            self._refused.add(attempt)
            self._warn(
                f"the server tried to {attempt}, which was not offered to it, and was refused; "
                "this is probably an attempt to break in"
            )
        raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "not offered")

    def take_remark(self, remark: str) -> None:
        """Process a debug message of the server (SSH_MSG_DEBUG)."""
        forced = forces_command(remark)
        if forced is not None:  # if the server has examined several keys, the last one was accepted
            self.is_forced = forced

    def hold(self) -> None:
        """Pause reading; data that was read already may still be processed."""
        if self._transport is not None:
            self._transport.pause_reading()

    def go_on(self) -> None:
        """Resume reading."""
        if self._transport is not None:
            self._transport.resume_reading()

    def _send_disconnect(self, code: int, reason: str, lang: str) -> None:
        self._goodbye_sent = True
        super()._send_disconnect(code, reason, lang)

    def _force_close(self, exc: Exception | None) -> None:
        transport = self._transport
        if transport is not None and not self._goodbye_sent and not transport.is_closing():
            if isinstance(exc, asyncssh.PermissionDenied):
                self._send_disconnect(
                    asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE, "No more authentication methods", "en"
                )
            elif not isinstance(
                exc, asyncssh.DisconnectError
            ):  # which means that the remote has disconnected
                self._send_disconnect(asyncssh.DISC_BY_APPLICATION, "Closed by user", "en")
        super()._force_close(exc)


def forces_command(remark: str) -> bool | None:
    """Parse whether a server's debug message announces a forced command.

    OpenSSH (7.7 and later) reports at the login which options of authorized_keys apply to the key
    (``auth_log_authopts`` in auth.c), in SSH_MSG_DEBUG (RFC 4253, section 11.3).

    Args:
        remark: The text of one such message.

    Returns:
        ``None`` if the message is about something else.
    """
    found = _KEY_OPTIONS.search(remark)
    return None if found is None else "command" in found[1].split()


def fit(channel: asyncssh.SSHClientChannel[bytes], size: int) -> None:
    """Resize ``channel``'s window to ``size`` bytes: it grows at once, and shrinks as it is used up.

    Raises:
        OSError: The channel is closed.
    """
    inside: Any = channel
    inside._init_recv_window = size  # noqa: SLF001 - no public way; asyncssh fills it up when half is used
    left = inside._recv_window  # noqa: SLF001 - as above
    if left < size // 2:
        inside._recv_window = size  # noqa: SLF001 - as above
        channel.send_packet(MSG_CHANNEL_WINDOW_ADJUST, UInt32(size - left))
