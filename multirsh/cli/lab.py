"""``multirsh lab``: a fleet of real SSH servers on this machine, to practise on."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from multirsh.cli import options, values
from multirsh.cli.invocation import Invocation
from multirsh.cli.process import print_err, print_out
from multirsh.cli.run import join_words
from multirsh.cli.syntax import HELP_NAMES, RunCommand
from multirsh.exit_code import ExitCode
from multirsh.inventory import fold
from multirsh.output.escape import escape_text

if TYPE_CHECKING:
    from multirsh.cli.signals import StopSignals
    from multirsh.commands.command import Command
    from multirsh.lab import Lab, LabOptions


@click.command(
    "lab",
    short_help="Start practice SSH servers on this machine.",
    cls=RunCommand,
    context_settings={"allow_interspersed_args": False, "help_option_names": HELP_NAMES},
    options_metavar="[OPTIONS]",
)
@options.option(
    "--hosts",
    section="Lab",
    configurable=False,
    type=values.count,
    default=10,
    show_default=True,
    metavar="N",
    help="Number of servers.",
)
@options.option(
    "--lab-port",
    section="Lab",
    configurable=False,
    type=values.port,
    metavar="PORT",
    help="Port of the servers.  [default: 7722, or a free one]",
)
@options.CHOICE
@options.RUNNING
@options.COURSE
@options.CONTEXT
@options.INPUT
@options.OUTPUT
@options.RECORD
@options.CLOSING
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND] [ARG]...")
def lab(*, hosts: int, lab_port: int | None, command: tuple[str, ...], **parameters: Any) -> int:
    """Start SSH servers on this machine; with COMMAND, run it on them and exit.

    The servers are real, and so is COMMAND: it runs on this machine, as you. Without COMMAND the servers stay
    up until Ctrl-C, for use from another terminal. They listen on loopback only, and accept only a key that
    is made for this lab.
    """
    # Not needed for --help, which must be quick.
    from multirsh.cli import signals  # noqa: PLC0415
    from multirsh.lab import LabOptions  # noqa: PLC0415

    fleet = LabOptions(hosts=hosts, port=lab_port)
    if not command:
        return signals.run(lambda _: _keep_up(fleet))
    context = options.take(options.CommandOptions, parameters)
    to_run, invocation = context.command(join_words(command)), Invocation.take(parameters, command)
    invocation.check_stdin()  # before the servers are started
    return signals.run(lambda taken: _run_on(fleet, to_run, invocation, taken))


async def _run_on(fleet: LabOptions, command: Command, invocation: Invocation, signals: StopSignals) -> int:
    from multirsh.lab import Lab  # noqa: PLC0415 - as above

    async with Lab(fleet) as running:
        invocation = replace(
            invocation,
            files=[str(running.hosts_file)],
            connection=options.ConnectionOptions(ssh_config=str(running.ssh_config)),
        )
        return await invocation.make_run(command, invocation.hosts()).run(signals)


async def _keep_up(fleet: LabOptions) -> int:
    """Until a signal cancels it."""
    import asyncio  # noqa: PLC0415 - as above

    from multirsh.lab import Lab  # noqa: PLC0415

    async with Lab(fleet) as running:
        print_out(_explanation(running))
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            print_err("")  # below the terminal's ^C
            print_err("multirsh: the lab ends")
    return ExitCode.OK


def _explanation(lab: Lab) -> str:
    options_for_it = escape_text(shlex.join(lab.arguments))
    return "\n".join(
        (
            f"{len(lab.names)} SSH servers are up: {fold(lab.names)}",
            "",
            "From another terminal:",
            f"  multirsh {options_for_it} uptime",
            f"  multirsh {options_for_it} -g web 'echo $MULTIRSH_LAB_HOST'",
            f"  ssh -F {escape_text(shlex.quote(str(lab.ssh_config)))} {lab.names[0]}",
            "",
            "Ctrl-C ends them and takes their keys and files away.",
            "",
        )
    )
