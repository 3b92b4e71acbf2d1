"""multirsh: run a command on many hosts at once; every connection is closed by the remote end first.

::

    import multirsh

    hosts = multirsh.Inventory.load("hosts.yaml").select("web*")
    async with multirsh.Fleet(hosts) as fleet:
        async for result in fleet.run("uptime"):
            print(result.host.name, result.status, result.text())

These are the public names; what is not here may change at any time. Each is
loaded when it is first used, so that ``import multirsh`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from multirsh.version import __version__

if TYPE_CHECKING:
    from multirsh.commands.command import Command, Script
    from multirsh.commands.sudo.options import Become, Sudo
    from multirsh.engine.fleet import Fleet, run
    from multirsh.engine.options import (
        Batches,
        Limits,
        MaxFail,
        RetryPolicy,
        RollingPlan,
        RunOptions,
        StartRate,
        Timeouts,
    )
    from multirsh.engine.pool import PooledConnection
    from multirsh.engine.results import HostResult, Results
    from multirsh.engine.run import Run, RunHooks
    from multirsh.engine.schedule.rolling import Answer, GateOutcome, StopReason
    from multirsh.engine.spool import Spool
    from multirsh.errors import (
        CredentialError,
        HostError,
        InventoryError,
        MultirshError,
        NodeSetError,
        UsageError,
    )
    from multirsh.events import (
        Copied,
        Event,
        HostFinished,
        HostStarted,
        Output,
        PortUse,
        RunFinished,
        RunStarted,
    )
    from multirsh.files.options import CopyOptions, Links, Via
    from multirsh.inventory import Inventory, expand, fold
    from multirsh.model import (
        ClosedBy,
        ErrorKind,
        Failure,
        Fate,
        Host,
        HostKeyPolicy,
        Phase,
        Seconds,
        Settings,
        SourcePort,
        Status,
        TransportName,
    )
    from multirsh.ports.ledger import PortBudget
    from multirsh.ports.tally import PortStatistics
    from multirsh.transports.base import Stdin
    from multirsh.transports.options import ExecOptions, RshOptions, RshStderr
    from multirsh.transports.passwords import PasswordSource
from multirsh.transports.options import SshOptions

__all__ = [
    "Answer",
    "Batches",
    "Become",
    "ClosedBy",
    "Command",
    "Copied",
    "CopyOptions",
    "CredentialError",
    "ErrorKind",
    "Event",
    "ExecOptions",
    "Failure",
    "Fate",
    "Fleet",
    "GateOutcome",
    "Host",
    "HostError",
    "HostFinished",
    "HostKeyPolicy",
    "HostResult",
    "HostStarted",
    "Inventory",
    "InventoryError",
    "Limits",
    "Links",
    "MaxFail",
    "MultirshError",
    "NodeSetError",
    "Output",
    "PasswordSource",
    "Phase",
    "PooledConnection",
    "PortBudget",
    "PortStatistics",
    "PortUse",
    "Results",
    "RetryPolicy",
    "RollingPlan",
    "RshOptions",
    "RshStderr",
    "Run",
    "RunFinished",
    "RunHooks",
    "RunOptions",
    "RunStarted",
    "Script",
    "Seconds",
    "Settings",
    "SourcePort",
    "Spool",
    "SshOptions",
    "StartRate",
    "Status",
    "Stdin",
    "StopReason",
    "Sudo",
    "Timeouts",
    "TransportName",
    "UsageError",
    "Via",
    "__version__",
    "expand",
    "fold",
    "run",
]

_MODULES = {
    "multirsh.commands.command": ("Command", "Script"),
    "multirsh.commands.sudo.options": ("Become", "Sudo"),
    "multirsh.engine.fleet": ("Fleet", "run"),
    "multirsh.engine.options": (
        "Batches",
        "Limits",
        "MaxFail",
        "RetryPolicy",
        "RollingPlan",
        "RunOptions",
        "StartRate",
        "Timeouts",
    ),
    "multirsh.engine.pool": ("PooledConnection",),
    "multirsh.engine.results": ("HostResult", "Results"),
    "multirsh.engine.run": ("Run", "RunHooks"),
    "multirsh.engine.schedule.rolling": ("Answer", "GateOutcome", "StopReason"),
    "multirsh.engine.spool": ("Spool",),
    "multirsh.errors": (
        "CredentialError",
        "HostError",
        "InventoryError",
        "MultirshError",
        "NodeSetError",
        "UsageError",
    ),
    "multirsh.events": (
        "Copied",
        "Event",
        "HostFinished",
        "HostStarted",
        "Output",
        "PortUse",
        "RunFinished",
        "RunStarted",
    ),
    "multirsh.files.options": ("CopyOptions", "Links", "Via"),
    "multirsh.inventory": ("Inventory", "expand", "fold"),
    "multirsh.model": (
        "ClosedBy",
        "ErrorKind",
        "Failure",
        "Fate",
        "Host",
        "HostKeyPolicy",
        "Phase",
        "Seconds",
        "Settings",
        "SourcePort",
        "Status",
        "TransportName",
    ),
    "multirsh.ports.ledger": ("PortBudget",),
    "multirsh.ports.tally": ("PortStatistics",),
    "multirsh.transports.base": ("Stdin",),
    "multirsh.transports.passwords": ("PasswordSource",),
    "multirsh.transports.options": ("ExecOptions", "RshOptions", "RshStderr", "SshOptions"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a public name from its module (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'multirsh' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
