"""A lab's plan, written down for those who read one: multirsh, ssh, and both their host-key checks.

Pure: plan in, text out. Every path and user name is quoted for the format it
goes into, since a temporary folder's name is not ours to choose.
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
    """Write the hosts file of the contract.

    Args:
        plan: The fleet.
        user: The one login name that gets in.
        identity: The one private key that gets in.
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
    """Write a configuration with which ``ssh -F FILE web01`` works as it is.

    It asks no agent and no other file, so that what a user has set for real
    hosts plays no part here (``man 5 ssh_config``: the first value found holds,
    so ``Host *`` comes last).

    Args:
        plan: The fleet.
        user: The one login name that gets in.
        identity: The one private key that gets in.
        known_hosts: Where the fleet's host keys are written down.
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
    """Write the known_hosts file: one line a host.

    Args:
        plan: The fleet.
        keys: Each host's public key in OpenSSH's one-line form, without a comment.
    """
    return "".join(f"{_known_as(endpoint)} {keys[name]}\n" for name, endpoint in plan.pairs())


def _known_as(endpoint: Endpoint) -> str:
    """The pattern that ssh looks a host up by (``man 8 sshd``, SSH_KNOWN_HOSTS FILE FORMAT)."""
    if endpoint.port == SSH_PORT:
        return endpoint.address
    return f"[{endpoint.address}]:{endpoint.port}"


def _quoted(text: str) -> str:
    """A JSON string, which is a YAML double-quoted scalar too (YAML 1.2, section 1.3)."""
    return json.dumps(text)


def _ssh_path(path: Path) -> str:
    """A path in double quotes, its percent signs kept from ssh's token expansion."""
    return '"' + str(path).replace("%", "%%") + '"'
