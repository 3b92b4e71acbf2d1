"""What is wrong with a run before it begins, whatever the hosts do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from multirsh.arguments import check_fields
from multirsh.errors import UsageError
from multirsh.inventory import fold
from multirsh.model import Host, TransportName
from multirsh.transports.base import Transport


def transport_of(host: Host) -> str:
    """The name of the transport by which ``host`` is reached."""
    return host.settings.transport or TransportName.SSH


def check_terminals(transports: Mapping[str, Transport], hosts: Sequence[Host], option: str | None) -> None:
    """See to it that every host can have a pseudo-terminal.

    Args:
        transports: By name.
        hosts: All of the run's.
        option: What asks for one; ``None`` if nothing does.

    Raises:
        UsageError: There are none.
    """
    if option is None:
        return
    for host in hosts:
        name = transport_of(host)
        if not transports[name].has_terminals:
            raise UsageError(
                f"{host.name}: there are no terminals by {name}",
                hint=f"leave out {option}, or such hosts with -x",
            )


def check_privacy(transports: Mapping[str, Transport], hosts: Sequence[Host]) -> None:
    """See to it that a password can be sent to every host.

    Raises:
        UsageError: By one that hides nothing.
    """
    for host in hosts:
        name = transport_of(host)
        if not transports[name].is_private:
            raise UsageError(
                f"{host.name}: {name} would send sudo's password in clear text",
                hint="give no password, for hosts whose sudo asks for none (NOPASSWD), or leave such hosts"
                " out with -x",
            )


def check_hosts(hosts: Sequence[Host]) -> None:
    """See to it that hosts are what their annotations say; settings that hosts share are looked at once.

    Raises:
        TypeError: A field is of another type.
    """
    seen: set[int] = set()
    for host in hosts:
        if id(host.settings) not in seen:
            seen.add(id(host.settings))
            check_fields(host)
            check_fields(host.settings)


def once_each(hosts: Sequence[Host]) -> tuple[Host, ...]:
    """See to it that no host is there twice.

    Raises:
        UsageError: One is.
    """
    counts = Counter(host.name for host in hosts)
    twice = {name for name, count in counts.items() if count > 1}
    if twice:
        raise UsageError(f"given more than once: {fold(twice)}", hint="a host runs a command once")
    return tuple(hosts)
