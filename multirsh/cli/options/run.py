"""The options of a run: ``-j``, ``-t``, ``--retries``, ``--batch`` and the like.

Each declaration names the field of ``RunOptions`` that it sets, and takes its default from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from multirsh.cli import values
from multirsh.cli.options.declare import option, run_option, together
from multirsh.engine.options import RunOptions
from multirsh.errors import UsageError

_COURSE: Final = "Retries and batches"
_CLOSING: Final = "Ports and closing"

RUNNING = together(
    run_option(
        "-t",
        "--connect-timeout",
        sets="timeouts.connect",
        section="Connection",
        type=values.seconds,
        metavar="S",
        about="Seconds from looking up the host's name until it is logged in.",
    ),
    run_option(
        "-j",
        "--fanout",
        sets="limits.fanout",
        section="Run",
        type=values.count,
        metavar="N",
        about="Largest number of hosts in flight at once.",
    ),
    run_option(
        "-u",
        "--command-timeout",
        sets="timeouts.command",
        section="Run",
        type=values.seconds,
        metavar="S",
        unset="no limit",
        about="Seconds the command may take on a host.",
    ),
    run_option(
        "--deadline",
        sets="timeouts.run",
        section="Run",
        type=values.seconds,
        metavar="S",
        unset="no limit",
        about="Seconds the whole run may take.",
    ),
    run_option(
        "--kill-after",
        sets="timeouts.kill_after",
        section="Run",
        type=values.seconds,
        metavar="S",
        about="Seconds from TERM to KILL when a command is ended.",
    ),
)

COURSE = together(
    run_option(
        "--retries",
        sets="retry.retries",
        section=_COURSE,
        type=values.whole(0),
        metavar="N",
        about="Number of further attempts to connect, after failures that may pass.",
    ),
    run_option(
        "--retry-delay",
        sets="retry.delay",
        section=_COURSE,
        type=values.seconds,
        metavar="S",
        about="Longest delay before the first retry, in seconds; it doubles with each retry.",
    ),
    run_option(
        "--retry-command",
        sets="retry.repeat_command",
        section=_COURSE,
        is_flag=True,
        configurable=False,
        about="Also retry when the command may already have run.",
    ),
    run_option(
        "--start-rate",
        sets="limits.start_rate",
        section=_COURSE,
        type=values.start_rate,
        metavar="N|auto",
        about="New connections per second; auto adapts to the number of logins that each server accepts.",
    ),
    run_option(
        "--handshakes",
        sets="limits.handshakes",
        section=_COURSE,
        type=values.count,
        metavar="N",
        unset="as -j",
        about="Largest number of logins at once.",
    ),
    run_option(
        "-k",
        "--fail-fast",
        sets="fail_fast",
        section=_COURSE,
        is_flag=True,
        about="Stop at the first failure, and end the commands that are running.",
    ),
    run_option(
        "--max-fail",
        sets="rolling.max_fail",
        section=_COURSE,
        type=values.max_fail,
        metavar="N|P%",
        about="Start no more hosts after this many failures.",
    ),
    run_option(
        "--batch",
        sets="rolling.batches",
        section=_COURSE,
        type=values.batches,
        metavar="N|P%,...",
        about="Run in batches of these sizes, such as 1,10%,100%; the last size repeats.",
    ),
    run_option(
        "--batch-delay",
        sets="rolling.delay",
        section=_COURSE,
        type=values.seconds,
        metavar="S",
        configurable=False,
        about="Seconds to wait between batches.",
    ),
    option(
        "--gate",
        section=_COURSE,
        metavar="CMD",
        configurable=False,
        help="Start the next batch only if CMD exits with 0. It runs on this machine, or with 'hosts:CMD' on "
        "the hosts of the batch.",
    ),
    option(
        "--step",
        section=_COURSE,
        is_flag=True,
        configurable=False,
        help="Ask at the terminal before the next batch.",
    ),
    run_option(
        "--barrier",
        sets="barrier",
        section=_COURSE,
        is_flag=True,
        configurable=False,
        about="Log in to all hosts first, then release the command to all of them at once.",
    ),
)

CLOSING = together(
    run_option(
        "--close-timeout",
        sets="timeouts.close",
        section=_CLOSING,
        type=values.seconds,
        metavar="S",
        about="Seconds to wait for the remote to close a connection before it is reset.",
    ),
    run_option(
        "--require-remote-close",
        sets="exit_rule.require_remote_close",
        section=_CLOSING,
        is_flag=True,
        about="Exit with 4 if the remote did not close a connection first.",
    ),
    run_option(
        "--ports",
        sets="limits.ports",
        section=_CLOSING,
        type=values.port_budget,
        metavar="N|P%",
        about="Local ports to use towards one destination, and reserved ports in total; the rest is left to "
        "other programs.",
    ),
    run_option(
        "--port-wait",
        sets="timeouts.port",
        section=_CLOSING,
        type=values.seconds,
        metavar="S",
        about="Seconds a host may wait for a free local port, in addition to -t.",
    ),
    option(
        "--bind",
        "bind_address",
        section=_CLOSING,
        metavar="ADDR",
        help="Local address to connect from.",
    ),
)


LOCAL: Final = "local:"
HOSTS: Final = "hosts:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pauses:
    """What happens between two batches, beside the delay; the fields are the options.

    Attributes:
        gate: A command that must exit with 0: on this machine, or after ``hosts:`` on the batch's hosts.
        step: Whether the user is asked at the terminal.
    """

    gate: str | None = None
    step: bool = False

    def check(self, options: RunOptions) -> None:
        """Check that there are batches to stand between.

        Raises:
            UsageError: There are none, or the gate has no command.
        """
        if self.gate is not None and not gate_command(self.gate):
            raise UsageError("--gate has no command", hint="give one, such as 'curl -fs http://lb/health'")
        given = {"--gate": self.gate, "--step": self.step, "--batch-delay": options.rolling.delay}
        for name, value in given.items():
            if value and options.rolling.batches is None:
                raise UsageError(f"{name} requires --batch, which divides the hosts")


NO_PAUSES: Final = Pauses()


def gate_command(gate: str) -> str:
    """Return the command of ``--gate``, without the word that says where it runs; it may be empty."""
    for place in (HOSTS, LOCAL):
        if gate.startswith(place):
            return gate.removeprefix(place).strip()
    return gate.strip()
