"""An rsh server in one process, for thousands of connections a second: it runs nothing and closes first.

It speaks the protocol of in.rshd(8) and the part of the script that the
client sends (``multirsh.transports.rsh.wrapper``): the script has begun, it
reads its order, and it ends with the status that the command asks for::

    exit N       that status, at once
    sleep S      0 after S seconds
    hold         0 once the server gets SIGUSR1; all that hold then end together
    cat          the input comes back as output
    ...          anything else: 0, and nothing is written

Run it in a namespace: ``python -m tests.servers.light_rshd --port 514``. It
prints a line once it listens, and serves until it is killed.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import re
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

BACKLOG: Final = 16_384
RESERVED_FROM: Final = 1023
RESERVED_TO: Final = 512

_ESCAPE: Final = re.compile(rb"\\0([0-7]{3})")


class LightRshd:
    """Serves connections until it is cancelled.

    Attributes:
        served: Connections that came to their end.
    """

    def __init__(self) -> None:
        self.served = 0
        self._let_go = asyncio.Event()
        self._ports: Iterator[int] = itertools.cycle(range(RESERVED_FROM, RESERVED_TO - 1, -1))

    async def serve(self, host: str, port: int) -> None:
        """Listen at ``host`` and ``port`` for ever."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._let_go.set)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        listener.setblocking(False)
        server = await asyncio.start_server(self._connected, sock=listener, backlog=BACKLOG)
        print(f"light_rshd: listening on port {port}", flush=True)  # noqa: T201 - it is a program
        async with server:
            await server.serve_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stderr: asyncio.StreamWriter | None = None
        try:
            port = int(await _until_nul(reader) or b"0")
            if port:
                stderr = await self._connect_back(writer, port)
            _local_user, _remote_user, line = [await _until_nul(reader) for _ in range(3)]
            await self._serve_one(line, reader, writer, stderr)
        except (OSError, EOFError):
            pass  # the client is gone
        finally:
            for stream in (stderr, writer):
                if stream is not None:
                    stream.close()
            self.served += 1

    async def _connect_back(self, writer: asyncio.StreamWriter, port: int) -> asyncio.StreamWriter:
        """Connect to the client's port from a reserved one, and from the address that it has connected to."""
        loop = asyncio.get_running_loop()
        here, peer = writer.get_extra_info("sockname")[0], writer.get_extra_info("peername")[0]
        for _ in range(RESERVED_FROM - RESERVED_TO + 1):
            sock = socket.socket(socket.AF_INET6 if ":" in peer else socket.AF_INET)
            try:
                sock.setblocking(False)
                # In TIME_WAIT here is what has closed first: us. The option lets such a port go elsewhere.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((here, next(self._ports)))
                await loop.sock_connect(sock, (peer, port))
            except OSError:
                sock.close()
                continue
            _, stderr = await asyncio.open_connection(sock=sock)
            return stderr
        raise OSError("no reserved port is left here")

    async def _serve_one(
        self,
        line: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        stderr: asyncio.StreamWriter | None,
    ) -> None:
        key = line.rpartition(b" ")[2]
        other = stderr or writer
        writer.write(b"\0" + key + b"[")
        other.write(key + b"[")
        wanted = await reader.readline()
        command = _ESCAPE.sub(lambda found: bytes([int(found[1], 8)]), await reader.readline()).rstrip(b"\n")
        if not wanted.strip():
            return  # a goodbye
        text = await reader.readexactly(int(wanted))
        status = 0
        match command.split():
            case [b"exit", number]:
                status = int(number)
            case [b"sleep", seconds]:
                await asyncio.sleep(float(seconds))
            case [b"hold"]:
                await self._let_go.wait()
            case [b"cat"]:
                writer.write(text)
        writer.write(b"%b]%d;" % (key, status))
        other.write(b"%b]%d;" % (key, status))
        await writer.drain()
        await other.drain()


async def _until_nul(reader: asyncio.StreamReader) -> bytes:
    return (await reader.readuntil(b"\0"))[:-1]


def main() -> None:
    """Serve as the command line says."""
    parser = argparse.ArgumentParser(description="an rsh server that runs nothing")
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on")
    parser.add_argument("--port", type=int, default=514)
    given = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(LightRshd().serve(given.host, given.port))
    sys.exit(0)


if __name__ == "__main__":
    main()
