"""``multirsh hosts``: the hosts of a selection, without running anything."""

from __future__ import annotations

import json
from typing import Any

import click

from multirsh.cli import options
from multirsh.cli.process import print_out
from multirsh.cli.syntax import HELP_NAMES, SectionCommand
from multirsh.inventory import Inventory, fold
from multirsh.model import Host
from multirsh.output.ndjson import safe


@click.command("hosts", cls=SectionCommand, context_settings={"help_option_names": HELP_NAMES})
@options.FILES
@options.CHOICE
@options.option(
    "--expand", section="Output", is_flag=True, configurable=False, help="One name per line, not folded."
)
@options.option(
    "--json",
    "as_json",
    section="Output",
    is_flag=True,
    help="One JSON object per host, with everything that the hosts file says about it.",
)
def hosts(*, files: tuple[str, ...], expand: bool, as_json: bool, **parameters: Any) -> None:
    """Show which hosts a selection means, without running anything.

    The names are folded, in the form that -w takes. Without -w and -g, all hosts of the file are selected.
    """
    inventory = options.read_inventory(files)
    selection = options.take(options.HostSelection, parameters)
    selection.warn_of_expansion()
    chosen = selection.hosts(inventory)
    if as_json:
        lines = [safe(json.dumps(described(host, inventory), ensure_ascii=False)) for host in chosen]
    elif expand:
        lines = [host.name for host in chosen]
    else:
        lines = [fold(host.name for host in chosen)]
    print_out("".join(f"{line}\n" for line in lines))


def described(host: Host, inventory: Inventory) -> dict[str, Any]:
    """Collect everything that the hosts file says about a host; the rest is ``null``."""
    settings = host.settings
    return {
        "host": host.name,
        "address": host.target,
        "user": settings.user,
        "port": settings.port,
        "identity": settings.identity,
        "jump": settings.jump,
        "transport": settings.transport,
        "source_port": settings.source_port,
        "host_keys": settings.host_keys,
        "vars": dict(host.vars),
        "groups": list(inventory.groups_of(host.name)),
    }
