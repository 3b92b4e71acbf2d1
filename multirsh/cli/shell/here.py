"""``!COMMAND``: a command of this machine's shell, at our own streams."""

from __future__ import annotations

import asyncio
import os
import signal

from multirsh.cli.signals import StopSignals
from multirsh.exit_code import SIGNAL_BASE


async def run_here(command: str, signals: StopSignals, *, is_person: bool) -> int:
    """Run ``command`` as the user's shell would.

    At a terminal Ctrl-C reaches it by itself; what else would stop us is passed on to it.

    Args:
        command: For ``$SHELL``, else ``/bin/sh``.
        signals: What comes meanwhile.
        is_person: Whether our standard input is a person's, and not the file that our lines come from.

    Returns:
        Its exit status; 128 and the signal that ended it.

    Raises:
        OSError: The shell cannot be started.
    """
    shell = os.environ.get("SHELL") or "/bin/sh"
    child = await asyncio.create_subprocess_exec(
        shell, "-c", os.fsencode(command), stdin=None if is_person else asyncio.subprocess.DEVNULL
    )

    def pass_on(number: signal.Signals, _count: int) -> None:
        if number is signal.SIGINT:
            if is_person:  # who presses it as often as an interpreter or a pager likes
                signals.leave()
        elif child.returncode is None:
            child.send_signal(number)

    with signals.handled_by(pass_on):
        status = await child.wait()
    return status if status >= 0 else SIGNAL_BASE - status
