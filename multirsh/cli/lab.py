"""``multirsh lab``: a fleet of real SSH servers on this machine, to practise on."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from multirsh.cli import options
from multirsh.cli.run import Bounds, Connecting, Showing, prepared
from multirsh.exit_code import SIGNAL_BASE
from multirsh.inventory import fold

if TYPE_CHECKING:
    from multirsh.lab import Lab, LabOptions


@click.command(
    "lab",
    context_settings={"allow_interspersed_args": False, "help_option_names": ["--help"]},
    options_metavar="[OPTIONS]",
)
@click.option("--hosts", type=int, default=10, show_default=True, metavar="N", help="How many servers.")
@click.option("--lab-port", type=int, metavar="PORT", help="Where they listen.  [default: 7722, or any free]")
@options.CHOICE
@options.RUNNING
@options.OUTPUT
@options.CLOSING
@options.EXITING
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND] [ARG]...")
def lab(*, hosts: int, lab_port: int | None, command: tuple[str, ...], **parameters: Any) -> int:
    """Start SSH servers on this machine; with COMMAND, run it on them and end.

    The servers are real, and COMMAND really runs: on this machine, as you. Without COMMAND they stay up until
    Ctrl-C, for another terminal. They listen on loopback only, and only a key made for the occasion gets in.
    """
    import asyncio  # noqa: PLC0415 - not needed for --help, and asyncssh still less

    from multirsh.lab import LabOptions  # noqa: PLC0415

    fleet = LabOptions(hosts=hosts, port=lab_port)
    return asyncio.run(_run_on(fleet, command, parameters) if command else _keep_up(fleet))


async def _run_on(fleet: LabOptions, command: Sequence[str], parameters: dict[str, Any]) -> int:
    from multirsh.lab import Lab  # noqa: PLC0415 - as above

    choice = options.take(options.Choice, parameters)
    showing = options.take(Showing, parameters)
    bounds = options.take(Bounds, parameters)
    async with Lab(fleet) as running:
        hosts = choice.hosts(options.read_inventory([str(running.hosts_file)]))
        connecting = Connecting(ssh_config=str(running.ssh_config))
        return await prepared(command, hosts, connecting=connecting, showing=showing, bounds=bounds).drive()


async def _keep_up(fleet: LabOptions) -> int:
    import asyncio  # noqa: PLC0415 - as above

    from multirsh.lab import Lab  # noqa: PLC0415

    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()

    def end(number: int) -> None:
        if not ended.done():
            ended.set_result(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end, number)
    async with Lab(fleet) as running:
        click.echo(_explanation(running))
        return SIGNAL_BASE + await ended


def _explanation(lab: Lab) -> str:
    options_for_it = shlex.join(lab.arguments)
    return "\n".join(
        (
            f"{len(lab.names)} SSH servers are up: {fold(lab.names)}",
            "",
            "From another terminal:",
            f"  multirsh {options_for_it} uptime",
            f"  multirsh {options_for_it} -g web 'echo $MULTIRSH_LAB_HOST'",
            f"  ssh -F {shlex.quote(str(lab.ssh_config))} {lab.names[0]}",
            "",
            "Ctrl-C ends them and takes their keys and files away.",
        )
    )
