"""``multirsh hosts``: what a selection means, without running anything."""

from __future__ import annotations

import json
from typing import Any

import click

from multirsh.cli import options
from multirsh.inventory import Inventory, fold
from multirsh.model import NO_SETTINGS, Host


@click.command("hosts", context_settings={"help_option_names": ["--help"]})
@options.SELECTION
@click.option("--expand", is_flag=True, help="One name a line.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a host and line.")
def hosts(*, expand: bool, as_json: bool, **parameters: Any) -> None:
    """Show which hosts a selection means, and how each would be reached."""
    selection: options.Selection = options.take(options.Selection, parameters)
    inventory, selected = selection.read(NO_SETTINGS)
    if as_json:
        for host in selected:
            click.echo(json.dumps(_row(host, inventory), ensure_ascii=False, separators=(",", ":")))
    elif expand:
        click.echo("\n".join(host.name for host in selected))
    else:
        click.echo(fold(host.name for host in selected))
