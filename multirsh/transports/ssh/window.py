"""How much a remote may send unasked: a channel's receive window, fitted to the packets that come.

RFC 4254, section 5.2, counts a window in bytes. But what a packet costs us hardly depends on what it holds,
and what the remote says last, such as how the command ended, is behind all that is under way. So the window
bounds the packets: a remote that writes byte by byte gets a small one. While that is closed, its server
gathers what is written, and sends it as one packet later. A remote that sends large packets gets the largest
window with the first of them.

``fit`` leans on two private attributes of asyncssh's channels; tests/transports/ssh/test_window.py fails when
a new release changes them.
"""

from __future__ import annotations

from typing import Any, Final

import asyncssh
from asyncssh.constants import MSG_CHANNEL_WINDOW_ADJUST
from asyncssh.packet import UInt32

from multirsh.shortage import part_of_room

FIRST_BYTES: Final = 4 * 1024
"""The window that a channel is opened with. An output that is longer waits for one round trip; with a larger
one, 200 hosts that write byte by byte have more packets under way than are handled in a minute."""

LEAST_BYTES: Final = 1024

MOST_BYTES: Final = 512 * 1024
"""What asyncssh buffers at the most for a host that is held back: 32 MiB for a fanout of 64."""

MOST_PART: Final = 256
"""Where this process may have little memory, a window is one part in so many of it."""

PACKETS: Final = 256
"""How many packets of the usual size may be under way."""

_WEIGHT: Final = 8
"""What is usual is a moving mean, to which a packet contributes one part in so many."""


class Window:
    """The size of one channel's window.

    Attributes:
        size: In bytes.
    """

    __slots__ = ("_most", "_usual", "size")

    def __init__(self) -> None:
        self._most = part_of_room(MOST_BYTES, MOST_PART, least=FIRST_BYTES)
        self._usual = FIRST_BYTES / PACKETS
        self.size = FIRST_BYTES

    def took(self, count: int) -> None:
        """A packet with ``count`` bytes of output has come."""
        self._usual += (count - self._usual) / _WEIGHT
        self.size = int(min(max(LEAST_BYTES, self._usual * PACKETS), self._most))


def fit(channel: asyncssh.SSHClientChannel[bytes], size: int) -> None:
    """Make ``channel``'s window ``size`` bytes: at once if it is to grow, and as it is used up if to shrink.

    Raises:
        OSError: The channel is closed.
    """
    inside: Any = channel
    inside._init_recv_window = size  # noqa: SLF001 - asyncssh has no other way, and fills it up when half is used
    left = inside._recv_window  # noqa: SLF001 - as above
    if left < size // 2:
        inside._recv_window = size  # noqa: SLF001 - as above
        channel.send_packet(MSG_CHANNEL_WINDOW_ADJUST, UInt32(size - left))
