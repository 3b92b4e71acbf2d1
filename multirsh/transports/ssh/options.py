"""What the user says of ssh for all hosts at once: the command line's options, or the library caller's.

Kept free of asyncssh, so that a command line can be read without loading it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from multirsh.arguments import check_fields
from multirsh.model import NO_SETTINGS, Settings
from multirsh.transports.passwords import Ask, PasswordSource


@dataclass(frozen=True, slots=True, kw_only=True)
class SshOptions:
    """ssh for the whole fleet.

    Attributes:
        settings: What goes before every host's own settings: ``-l``, ``-p``, ``-i``, ``-J``, ``--host-keys``.
        config_file: Read instead of the user's and the system's (``-F``); ``none``, as in ssh, for no file.
        overrides: ``Keyword=value`` each, before any file (``-o``).
        password: Where the hosts' login password comes from. Jump hosts are not offered it.
        ask: How to ask a person; ``None`` where nobody can be asked. Called in a thread: before the first
            connection, and during a run that has a login password, for that of a jump host.
        forward_agent: Let the hosts use this user's agent (``-A``), and no jump host. Never on by itself,
            whatever ssh_config says: a remote's root can use what is forwarded.
        addresses: What is connected to for hosts and jump hosts, by the name that ssh_config is asked about:
            as they were reached before, whatever ``HostName`` says by now.
    """

    settings: Settings = NO_SETTINGS
    config_file: str | None = None
    overrides: tuple[str, ...] = ()
    password: PasswordSource = field(default_factory=PasswordSource)
    ask: Ask | None = None
    forward_agent: bool = False
    addresses: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)
