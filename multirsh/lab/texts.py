"""The files of a lab: a hosts file for multirsh, and ssh_config and known_hosts. Pure.

Paths and user names are quoted as each format requires, since the name of the
temporary directory may hold any character.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from multirsh.lab.plan import LabPlan
from multirsh.ports.sockets import Endpoint

SSH_PORT: Final = 22


def hosts_yaml(plan: LabPlan, *, user: str, identity: Path) -> str:
    """Return the text of the hosts file.

    Args:
        plan: The fleet.
        user: The login name that is accepted.
        identity: The private key that is accepted.
    """
    ports = {endpoint.port for endpoint in plan.endpoints}
    shared_port = ports.pop() if len(ports) == 1 else None
    defaults = [f"user: {_quoted(user)}", f"identity: {_quoted(str(identity))}"]
    if shared_port is not None:
        defaults.insert(1, f"port: {shared_port}")
    lines = [
        "# A lab's fleet: made by `multirsh lab`, gone when it ends.",
        f"defaults: {{{', '.join(defaults)}}}",
    ]
    lines.append("hosts:")
    for name, endpoint in plan.pairs():
        settings = f"address: {endpoint.address}"
        if shared_port is None:
            settings += f", port: {endpoint.port}"
        lines.append(f"  - {name}: {{{settings}}}")
    lines.append("groups:")
    for name, group in plan.roster.groups.items():
        if group.groups:
            lines.append(f"  {name}: {{groups: [{', '.join(group.groups)}]}}")
        else:
            lines.append(f"  {name}: {{hosts: [{_quoted(group.hosts)}]}}")
    return "\n".join(lines) + "\n"


def ssh_config(plan: LabPlan, *, user: str, identity: Path, known_hosts: Path) -> str:
    """Return the text of an ssh_config file with which ``ssh -F FILE web01`` works.

    It uses no agent and no other file, so that the user's settings for real
    hosts do not apply. ``Host *`` comes last, since the first value found is
    used (``man 5 ssh_config``).

    Args:
        plan: The fleet.
        user: The login name that is accepted.
        identity: The private key that is accepted.
        known_hosts: The file with the host keys.
    """
    lines = ["# A lab's fleet: made by `multirsh lab`, gone when it ends."]
    for name, endpoint in plan.pairs():
        lines += [f"Host {name}", f"    HostName {endpoint.address}", f"    Port {endpoint.port}"]
    lines += [
        "Host *",
        f'    User "{user}"',
        f"    IdentityFile {_ssh_path(identity)}",
        "    IdentitiesOnly yes",
        "    IdentityAgent none",
        "    PreferredAuthentications publickey",
        f"    UserKnownHostsFile {_ssh_path(known_hosts)}",
        "    GlobalKnownHostsFile /dev/null",
        "    StrictHostKeyChecking yes",
        "    UpdateHostKeys no",
    ]
    return "\n".join(lines) + "\n"


def known_hosts(plan: LabPlan, *, keys: Mapping[str, str]) -> str:
    """Return the text of the known_hosts file, one line per host.

    Args:
        plan: The fleet.
        keys: The public key of each host in OpenSSH's one-line form, without a comment.
    """
    return "".join(f"{_known_as(endpoint)} {keys[name]}\n" for name, endpoint in plan.pairs())


def _known_as(endpoint: Endpoint) -> str:
    """Return the pattern that ssh looks a host up by (``man 8 sshd``, SSH_KNOWN_HOSTS FILE FORMAT)."""
    if endpoint.port == SSH_PORT:
        return endpoint.address
    return f"[{endpoint.address}]:{endpoint.port}"


def _quoted(text: str) -> str:
    """Return a JSON string, which is also a YAML double-quoted scalar (YAML 1.2, section 1.3)."""
    return json.dumps(text)


def _ssh_path(path: Path) -> str:
    """Return a path in double quotes, with its percent signs protected from ssh's token expansion."""
    return '"' + str(path).replace("%", "%%") + '"'
