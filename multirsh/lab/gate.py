"""The access policy of a lab host: authentication, sessions and forwarding."""

from __future__ import annotations

import asyncssh

from multirsh.lab.service import Service
from multirsh.lab.session import LabSession
from multirsh.ports.sockets import Endpoint


class Gate(asyncssh.SSHServer):
    """The policy of one lab host, for one connection.

    It accepts one user with one key, sessions, and forwarding to other hosts of
    the same lab, so that any host can be a jump host (``ssh -J``). Everything
    else is refused, which is asyncssh's default for requests without a method here.
    """

    def __init__(self, *, host: str, service: Service) -> None:
        self._host = host
        self._service = service
        self._connection: asyncssh.SSHServerConnection | None = None
        self._ends = ""

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Count a connection; abort it if the lab is closing."""
        census = self._service.census
        self._connection = conn
        # Read now, since asyncssh forgets the addresses as soon as the connection is lost.
        client, server = conn.get_extra_info("peername"), conn.get_extra_info("sockname")
        self._ends = f"{client[0]} {client[1]} {server[0]} {server[1]}"
        census.connections.add(conn)
        census.connections_total += 1
        if census.is_closing:
            conn.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the reason does not matter
        """Count a connection as closed."""
        if self._connection is not None:
            self._service.census.connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:  # noqa: ARG002 - checked with the key, so that user names cannot be probed
        """Require authentication of every user."""
        return True

    def public_key_auth_supported(self) -> bool:
        """Allow public keys, and nothing else."""
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Accept the lab's user with the lab's key; asyncssh then verifies the signature."""
        return username == self._service.user and key.public_data == self._service.client_key

    def session_requested(self) -> LabSession:
        """Return a new session; one connection may have several."""
        return LabSession(host=self._host, ends=self._ends, service=self._service)

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:  # noqa: ARG002
        """Allow forwarding to the lab's own hosts only.

        Raises:
            asyncssh.ChannelOpenError: The destination is not in the lab.
        """
        if Endpoint(dest_host, dest_port) not in self._service.endpoints:
            raise asyncssh.ChannelOpenError(
                asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "a lab forwards to its own hosts only"
            )
        return True
