"""What course a run takes: retries, batches, when it stops."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from multirsh.cli import values
from multirsh.cli.options.declare import option, together
from multirsh.engine.batches import ALL_AT_ONCE, Batches, MaxFail
from multirsh.engine.pace import StartRate
from multirsh.errors import UsageError

if TYPE_CHECKING:
    from multirsh.cli.control import Control

_of_course = partial(option, section="Course")

COURSE = together(
    _of_course(
        "--retries",
        type=values.whole(0),
        default=0,
        metavar="N",
        help="Try N times more to connect, where that may help.  [default: 0]",
    ),
    _of_course(
        "--retry-delay",
        type=values.seconds,
        default=1.0,
        metavar="S",
        help="Seconds before the first retry, at the most; twice as many each time.  [default: 1]",
    ),
    _of_course(
        "--retry-command",
        is_flag=True,
        configurable=False,
        help="Retry also where the command may have run already.",
    ),
    _of_course(
        "--start-rate",
        type=values.start_rate,
        default="auto",
        metavar="N|auto",
        help="New connections a second; auto: as many logins at once as each server takes.  [default: auto]",
    ),
    _of_course("--handshakes", type=values.count, metavar="N", help="Logins at once.  [default: as -j]"),
    _of_course(
        "-k",
        "--fail-fast",
        is_flag=True,
        help="Stop at the first failure, and end the commands that run.",
    ),
    _of_course(
        "--max-fail",
        type=values.max_fail,
        metavar="N|P%",
        help="Start no more hosts once so many have failed.",
    ),
    _of_course(
        "--batch",
        type=values.batches,
        metavar="N|P%,...",
        help="Run in batches of so many hosts, such as 1,10%,100%; the last size goes on.",
    ),
    _of_course(
        "--batch-delay",
        type=values.seconds,
        metavar="S",
        configurable=False,
        help="Seconds between batches.",
    ),
    _of_course(
        "--gate",
        metavar="CMD",
        configurable=False,
        help="CMD must end with 0 before the next batch: here, or on the batch's hosts with 'hosts:CMD'.",
    ),
    _of_course(
        "--step", "asks", is_flag=True, configurable=False, help="Ask at the terminal before the next batch."
    ),
    _of_course(
        "--barrier",
        is_flag=True,
        configurable=False,
        help="Log in everywhere first; then release the command to all at once.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What course the run takes; the fields are the options."""

    retries: int
    retry_delay: float
    retry_command: bool
    start_rate: StartRate
    handshakes: int | None
    fail_fast: bool
    max_fail: MaxFail | None
    batch: Batches | None
    batch_delay: float | None
    gate: str | None
    asks: bool
    barrier: bool

    def control(self) -> Control:
        """As the run needs it.

        Raises:
            UsageError: Options that cannot be meant together.
        """
        from multirsh.cli.control import Control, command_of  # noqa: PLC0415 - not needed for --help
        from multirsh.engine.retry import RetryPolicy  # noqa: PLC0415
        from multirsh.engine.rolling import RollingPlan  # noqa: PLC0415

        if self.gate is not None and not command_of(self.gate):
            raise UsageError("--gate has no command", hint="give one, such as 'curl -fs http://lb/health'")
        between = {"--gate": self.gate, "--step": self.asks, "--batch-delay": self.batch_delay}
        for name, value in between.items():
            if value is not None and value is not False and self.batch is None:
                raise UsageError(
                    f"{name} is for what comes between batches, and there are none", hint="give --batch, too"
                )
        if self.barrier and self.batch is not None:
            raise UsageError(
                "--barrier holds all hosts at once, and --batch does not", hint="use one of them"
            )
        return Control(
            retry=RetryPolicy(
                retries=self.retries, delay=self.retry_delay, repeat_command=self.retry_command
            ),
            rolling=RollingPlan(
                batches=self.batch or ALL_AT_ONCE, max_fail=self.max_fail, delay=self.batch_delay or 0.0
            ),
            gate=self.gate,
            asks=self.asks,
            fail_fast=self.fail_fast,
            barrier=self.barrier,
        )
