"""ssh_config(5), read once and evaluated for each host.

``directives`` parses a line, ``blocks`` groups lines under their conditions,
``evaluation`` decides what applies to a host, and ``settings`` holds the
result; only ``files`` reads files.
"""

from multirsh.transports.ssh.config.directives import AddressFamily, Directive, Hop, Place, read_jump
from multirsh.transports.ssh.config.evaluation import SshConfig
from multirsh.transports.ssh.config.files import local_user, read_config, read_options
from multirsh.transports.ssh.config.settings import Identity, IdentitySource, Local, SshSettings, SshTarget

__all__ = [
    "AddressFamily",
    "Directive",
    "Hop",
    "Identity",
    "IdentitySource",
    "Local",
    "Place",
    "SshConfig",
    "SshSettings",
    "SshTarget",
    "local_user",
    "read_config",
    "read_jump",
    "read_options",
]
