"""Addresses and home directories, written as ssh writes them."""

from __future__ import annotations

import ipaddress
import pwd
import socket

from multirsh.transports.ssh.config.directives import Place


def numeric_address(host: str) -> str | None:
    """Write an address as the system does, such as ``127.0.0.1`` for ``127.1``; ``None`` if it is a name."""
    if ":" in host:
        bare, percent, scope = host.partition("%")
        try:
            return f"{ipaddress.IPv6Address(bare)}{percent}{scope}"
        except ValueError:
            return None
    if not host[:1].isdigit():
        return None
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None


def tilde_home(user: str, place: Place) -> str:
    """Find a user's home directory, for ``~user``.

    Raises:
        UsageError: There is no such user.
    """
    try:
        return pwd.getpwnam(user).pw_dir
    except (KeyError, UnicodeError, ValueError):
        raise place.error(f"there is no user {user!r}") from None


def expand_tilde(path: str, place: Place, home: str) -> str:
    """Expand ``~`` and ``~user`` at the start of a path."""
    if not path.startswith("~"):
        return path
    user, _, rest = path[1:].partition("/")
    directory = tilde_home(user, place) if user else home
    # The directory is no template: a % in it is a %.
    return f"{directory.rstrip('/').replace('%', '%%')}/{rest.lstrip('/')}"
