"""ssh_config(5), read once and asked about each host.

From text to answer: ``directives`` understands a line, ``blocks`` puts lines
under their conditions, ``evaluation`` says what holds for a host,
``settings`` is the answer; ``files`` is the one that reads.
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
