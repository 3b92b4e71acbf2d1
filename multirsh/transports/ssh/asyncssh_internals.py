"""All that uses private parts of asyncssh: a connection that says goodbye, and a channel's window.

asyncssh sends SSH_MSG_DISCONNECT when its user closes the connection, but
not when authentication fails and not on an error of its own: it just drops
the socket. A server that is not told keeps its end open until its login
grace time, so the remote could never close first. ``ClientConnection`` sends
the goodbye in those cases too.

A server may open channels by itself (RFC 4254). All that it can be given is
the agent, where that is forwarded; everything else is refused, and what ssh
warns of is reported.

asyncssh logs the command line at INFO, values of environment variables
included, and with packet dumps also passwords and what is sent as standard
input; the program that uses multirsh decides by its own set-up of logging
whether that is printed, and cannot know. So connections of multirsh have a
logger that is silent at every level. asyncssh's own logger, which other
connections of that program may use, stays as it is.

The private names of asyncssh that are used here, and in no other module:

- of a connection: ``_transport``, ``_force_close``, ``_send_disconnect``, ``_agent_forward_path``;
- what answers to a server's channels: ``_process_auth_agent_at_openssh_dot_com_open``, ``_process_x11_open``,
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
"""Gives the plain key of a host's key or certificate, or raises ``asyncssh.HostKeyNotVerifiable``."""

_KEY_OPTIONS: Final = re.compile(r": key options:(.*)\Z")

SAID_BYTES: Final = 256
"""What is kept of a remote's first words."""


class _SilentLogger(SSHLogger):
    """asyncssh's logger without a voice; it also formats nothing, which would be done for each message."""

    def get_child(self, child: str = "", context: str = "") -> Self:  # noqa: ARG002 - asyncssh's signature
        """Be the logger of a channel, too."""
        return self

    def log(self, level: int, msg: object, *args: object, **kwargs: object) -> None:
        """Log nothing; it is what all other methods but the three below end in."""

    def debug1(self, msg: str, *args: object, **kwargs: object) -> None:
        """Log nothing."""

    def debug2(self, msg: str, *args: object, **kwargs: object) -> None:
        """Log nothing."""

    def packet(self, pktid: int | None, packet: bytes, msg: str, *args: object, **kwargs: object) -> None:
        """Log nothing."""


_SILENT: Final = _SilentLogger()


class ClientConnection(asyncssh.SSHClientConnection):
    """An SSH client connection that never leaves without SSH_MSG_DISCONNECT (RFC 4253, section 11.1).

    Attributes:
        is_forced: Whether the server has said that it runs the same command whatever it is asked for.
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
            loop: As of asyncssh.
            options: As of asyncssh.
            judge: Decides about the host's key.
            on_phase: Called when the host's key is accepted and the login begins.
            warn: Takes what people have to know of the server, without its name.
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
        """What the remote has written instead of its SSH version, which asyncssh reads past (RFC 4253, 4.2).

        At most ``SAID_BYTES``, and nothing once there is a version.
        """
        return b"" if self.get_extra_info("server_version") else self._first_bytes.strip()

    def data_received(self, data: bytes, datatype: asyncssh.DataType = None) -> None:
        """Take what the remote writes; its first words are kept."""
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
        """Call ``call`` when all is taken apart that was just read.

        Returns:
            ``False``, and it will not be called, if nothing is being read.
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
        """The transport holds more than it should: asyncssh itself goes on writing."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """The transport has sent most of it."""
        self._may_write.set()

    async def may_write(self) -> None:
        """Wait until the transport holds little."""
        await self._may_write.wait()

    def validate_server_host_key(self, key_data: bytes) -> asyncssh.SSHKey:
        """Check the host's key; what comes after it the first time is the login."""
        key = self._judge(key_data)
        if not self._is_known:  # else it is asked for again in a rekey
            self._is_known = True
            self._first_bytes = b""
            self._on_phase(Phase.AUTH)
        return key

    def withhold_agent(self, reason: str) -> None:
        """Do not forward the agent after all.

        Args:
            reason: Why, for people.
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
        """Refuse a channel that nothing here has asked for, and warn once, as ssh does (clientloop.c)."""
        if attempt not in self._refused:
            self._refused.add(attempt)
            self._warn(
                f"the server tried to {attempt}, which was not offered to it, and was refused; "
                "this is probably an attempt to break in"
            )
        raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "not offered")

    def take_remark(self, remark: str) -> None:
        """Take what the server says for the record (SSH_MSG_DEBUG)."""
        forced = forces_command(remark)
        if forced is not None:  # of several keys that it has looked at, the last is the one that opened
            self.is_forced = forced

    def hold(self) -> None:
        """Read no further for now; what has been read already may still have its effect."""
        if self._transport is not None:
            self._transport.pause_reading()

    def go_on(self) -> None:
        """Read on."""
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
            elif not isinstance(exc, asyncssh.DisconnectError):  # that one would be the remote's own goodbye
                self._send_disconnect(asyncssh.DISC_BY_APPLICATION, "Closed by user", "en")
        super()._force_close(exc)


def forces_command(remark: str) -> bool | None:
    """Whether a server's remark says that it runs a command of its own, whatever it is asked for.

    OpenSSH (7.7 and later) tells at the login which options of authorized_keys hold for the key
    (``auth_log_authopts`` in auth.c), in SSH_MSG_DEBUG (RFC 4253, section 11.3).

    Args:
        remark: The text of one such message.

    Returns:
        ``None`` where it says nothing of it.
    """
    found = _KEY_OPTIONS.search(remark)
    return None if found is None else "command" in found[1].split()


def fit(channel: asyncssh.SSHClientChannel[bytes], size: int) -> None:
    """Make ``channel``'s window ``size`` bytes: at once if it is to grow, and as it is used up if to shrink.

    Raises:
        OSError: The channel is closed.
    """
    inside: Any = channel
    inside._init_recv_window = size  # noqa: SLF001 - no public way; asyncssh fills it up when half is used
    left = inside._recv_window  # noqa: SLF001 - as above
    if left < size // 2:
        inside._recv_window = size  # noqa: SLF001 - as above
        channel.send_packet(MSG_CHANNEL_WINDOW_ADJUST, UInt32(size - left))
