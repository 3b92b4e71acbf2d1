"""The access policy of a lab host: authentication, sessions and forwarding."""

from __future__ import annotations

import asyncssh

from multirsh.lab.service import Service
from multirsh.lab.session import LabSession
from multirsh.ports.sockets import Endpoint


class Gate(asyncssh.SSHServer):
    """The policy of one lab host, for one connection.

    One user with one key; sessions; and forwarding to other hosts of the same
    lab, so that any of them can play the bastion (``ssh -J``). All else that
    SSH offers is refused, which is asyncssh's default for what has no method here.
    """

    def __init__(self, *, host: str, service: Service) -> None:
        self._host = host
        self._service = service
        self._connection: asyncssh.SSHServerConnection | None = None
        self._ends = ""

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Count a connection; one that was on its way when the lab closed goes no further."""
        census = self._service.census
        self._connection = conn
        # Now, for asyncssh forgets them as soon as the connection is lost.
        client, server = conn.get_extra_info("peername"), conn.get_extra_info("sockname")
        self._ends = f"{client[0]} {client[1]} {server[0]} {server[1]}"
        census.connections.add(conn)
        census.connections_total += 1
        if census.is_closing:
            conn.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - how it ended is the client's story
        """Forget a connection."""
        if self._connection is not None:
            self._service.census.connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:  # noqa: ARG002 - judged with the key, so that nothing tells them apart
        """Require authentication of every user."""
        return True

    def public_key_auth_supported(self) -> bool:
        """Allow public keys, and nothing else."""
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Whether this is the lab's user with the lab's key; asyncssh then checks that they hold it."""
        return username == self._service.user and key.public_data == self._service.client_key

    def session_requested(self) -> LabSession:
        """A session for each that is asked for; one connection may have several."""
        return LabSession(host=self._host, ends=self._ends, service=self._service)

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:  # noqa: ARG002
        """Forward to the lab's own hosts and nowhere else.

        Raises:
            asyncssh.ChannelOpenError: The destination is not in the lab.
        """
        if Endpoint(dest_host, dest_port) not in self._service.endpoints:
            raise asyncssh.ChannelOpenError(
                asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "a lab forwards to its own hosts only"
            )
        return True
