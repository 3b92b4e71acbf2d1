"""The options that subcommands share, and the values they become.

One decorator a group of options, in the order of ``--help``. Each option has
its ``MULTIRSH_*`` variable; flags win over those, and those over config.toml.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from multirsh.cli import stdin, values
from multirsh.cli.descriptors import STDIN
from multirsh.cli.sections import OTHER, SectionOption
from multirsh.inventory import Inventory
from multirsh.model import Host, HostKeyPolicy
from multirsh.output import When
from multirsh.transports.rsh.options import RshStderr

Taken = TypeVar("Taken")
Decorated = TypeVar("Decorated", bound=Callable[..., Any])

CONFIGURABLE: dict[str, SectionOption] = {}
"""Key in config.toml → the option it is a default of."""


def option(
    *names: str, section: str = OTHER, configurable: bool = True, **settings: Any
) -> Callable[[Decorated], Decorated]:
    """Declare an option with its heading, its environment variable and its key in config.toml."""
    if configurable:
        long_names = [name for name in names if name.startswith("--")]
        key = long_names[0].lstrip("-")
        settings.setdefault("envvar", f"MULTIRSH_{key.replace('-', '_').upper()}")
        CONFIGURABLE[key] = SectionOption(names, section=section, **settings)
    return click.option(*names, cls=SectionOption, section=section, **settings)


def _together(*decorators: Callable[[Decorated], Decorated]) -> Callable[[Decorated], Decorated]:
    def decorate(function: Decorated) -> Decorated:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


_of_hosts = partial(option, section="Hosts")
_of_connecting = partial(option, section="Connection")
_of_running = partial(option, section="Run")
_of_course = partial(option, section="Course")
_of_output = partial(option, section="Output")
_of_closing = partial(option, section="Ports and closing")

FILES = _of_hosts(
    "-f",
    "--file",
    "files",
    type=click.Path(),
    multiple=True,
    metavar="FILE",
    help="Hosts file: YAML, or one host a line; '-' is standard input. Repeatable.",
)

CHOICE = _together(
    _of_hosts(
        "-w",
        "--nodes",
        multiple=True,
        metavar="NODES",
        configurable=False,
        help="These hosts: web[01-12],db[1-9/2],@group,web*; with ! for less, & for both, ^ for either. "
        "Without -f, any host.",
    ),
    _of_hosts("-x", "--exclude", multiple=True, metavar="NODES", help="Not these."),
    _of_hosts(
        "-g",
        "--group",
        "groups",
        multiple=True,
        metavar="GROUP",
        configurable=False,
        help="The hosts of a group.",
    ),
    _of_hosts(
        "-a",
        "--all",
        "everything",
        is_flag=True,
        configurable=False,
        help="All hosts of the file, as without -w and -g.",
    ),
    _of_hosts("--pick", type=values.count, metavar="N", configurable=False, help="N of them, at random."),
)

_USER = _of_connecting("-l", "--user", metavar="USER", help="Log in as USER.")


def _port(letter: str) -> Callable[[Decorated], Decorated]:
    return _of_connecting(letter, "--port", type=values.port, metavar="PORT", help="Connect to PORT.")


_CONNECTION_BUT_PORT = _together(
    _of_connecting("-i", "--identity", metavar="KEY", help="Log in with this private key."),
    _of_connecting(
        "-J",
        "--jump",
        metavar="JUMP",
        help="Go through [user@]host[:port][,...]; as in ssh, -l, -p and -i are not for those.",
    ),
    _of_connecting(
        "-F",
        "--ssh-config",
        type=click.Path(),
        metavar="FILE",
        help="Read this ssh_config and no other; 'none' reads none.",
    ),
    _of_connecting(
        "-o",
        "--ssh-option",
        "ssh_options",
        multiple=True,
        metavar="K=V",
        envvar=None,  # click would part the variable at blanks, and values hold some
        help="An option of ssh_config, before any file.",
    ),
    _of_connecting(
        "-R",
        "--transport",
        type=values.transport,
        metavar="NAME",
        help="How to reach hosts: ssh, rsh, exec (see --exec), local (this machine), or one installed.",
    ),
    _of_connecting(
        "--exec",
        "exec_template",
        metavar="TEMPLATE",
        help="With -R exec, the program that reaches a host, such as 'kubectl exec -i %h -- sh -c %c': %h is "
        "the address, %n the name, %u the user, %p the port, %c the command as one argument.",
    ),
    _of_connecting(
        "--rsh-stderr",
        type=click.Choice([stderr.value for stderr in RshStderr]),
        default=RshStderr.SEPARATE.value,
        show_default=True,
        metavar="HOW",
        help="With rsh, stderr comes separate, on a connection that the host makes back to us, or merged "
        "into stdout.",
    ),
    _of_connecting(
        "--host-keys",
        type=click.Choice([policy.value for policy in HostKeyPolicy]),
        metavar="POLICY",
        help="strict: only known host keys; accept-new: unknown ones too, and they become known; off: any.  "
        "[default: ssh_config's StrictHostKeyChecking, else strict]",
    ),
    _of_connecting(
        "-A",
        "--forward-agent",
        is_flag=True,
        configurable=False,
        help="Let the hosts use your ssh agent; never without this, whatever ssh_config says.",
    ),
    _of_connecting(
        "--sudo",
        metavar="[=USER]",
        configurable=False,
        help="Run the command by sudo, as root or USER.",
    ),
    _of_connecting(
        "-K",
        "--ask-sudo-pass",
        is_flag=True,
        configurable=False,
        help="Ask for sudo's password, once for all hosts.  [default: the login's, where one is given]",
    ),
    _of_connecting("--ask-pass", is_flag=True, help="Ask for the login password, once for all hosts."),
    _of_connecting(
        "--password-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Its first line is the login password; '-' is standard input.",
    ),
    _of_connecting(
        "--password-command", metavar="CMD", help="The first line that CMD prints is the login password."
    ),
)

CONNECTION = _together(_USER, _port("-p"), _CONNECTION_BUT_PORT)
COPY_CONNECTION = _together(_USER, _port("-P"), _CONNECTION_BUT_PORT)
"""As scp(1) has it: there ``-p`` keeps modes and times."""

RUNNING = _together(
    _of_connecting(
        "-t",
        "--connect-timeout",
        type=values.seconds,
        default=10.0,
        metavar="S",
        help="Seconds from the name's look-up to logged in.  [default: 10]",
    ),
    _of_running(
        "-j",
        "--fanout",
        type=values.count,
        default=64,
        show_default=True,
        metavar="N",
        help="Hosts in flight at once.",
    ),
    _of_running(
        "-u",
        "--command-timeout",
        type=values.seconds,
        metavar="S",
        help="Seconds the command may take on a host.  [default: as many as it takes]",
    ),
)

COLOR = _of_output(
    "--color",
    type=click.Choice([when.value for when in When]),
    default="auto",
    metavar="WHEN",
    help="Colours: auto (on a terminal), always, never.",
)

COURSE = _together(
    _of_running(
        "--deadline",
        type=values.seconds,
        metavar="S",
        help="Seconds the whole run may take.  [default: as many as it takes]",
    ),
    _of_running(
        "--kill-after",
        type=values.seconds,
        default=5.0,
        metavar="S",
        help="Seconds from TERM to KILL, where a command is given up on.  [default: 5]",
    ),
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

CONTEXT = _together(
    _of_running(
        "--env",
        "environment",
        type=values.assignment,
        multiple=True,
        metavar="K=V",
        configurable=False,
        help="Set a variable for the command, whatever the server accepts. Repeatable.",
    ),
    _of_running("--cwd", "directory", metavar="DIR", configurable=False, help="Run in DIR on the host."),
    _of_running(
        "--template",
        "is_template",
        is_flag=True,
        configurable=False,
        help="Fill in {host}, {user}, {index} and {var.NAME}, each quoted for the shell; {{ is a brace.",
    ),
)

TTY = _of_running(
    "--tty",
    is_flag=True,
    configurable=False,
    help="Give the command a terminal of 80x24; its stderr then comes with stdout.",
)

STDIN_OPTION = _of_running(
    *stdin.NAMES,
    "stdin",
    metavar="[FILE]",
    configurable=False,
    help="Standard input, or FILE, in full to every host.  [default: the commands see its end at once]",
)

_NO_PREFIX = _of_output(
    "-N", "--no-prefix", is_flag=True, help="Neither host names before lines nor headers."
)

_GATHERING = _together(
    _of_output("-b", "--gather", is_flag=True, help="Equal outputs once, under their hosts."),
    _of_output("-B", "--gather-all", is_flag=True, help="The same, with stderr."),
    _of_output("-L", "--blocks", is_flag=True, help="One block a host, in order; with -B, with stderr."),
    _of_output(
        "--diff",
        "differences",
        is_flag=True,
        help="Gather, and show how the others differ from the majority.",
    ),
    _of_output(
        "--normalize",
        "normalizer",
        type=values.normalizer,
        metavar="LIST",
        help="What does not count in comparing: host, ip, time, pid, /re/.",
    ),
    _of_output(
        "--outdir",
        "out_folder",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Append each host's stdout to a file of its name in DIR, too.",
    ),
    _of_output(
        "--errdir",
        "err_folder",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="The same with its stderr.",
    ),
    _of_output(
        "--output-mem",
        "output_memory",
        type=values.size,
        default="64M",
        metavar="SIZE",
        help="Gathered output to hold in memory; the rest goes to disk.  [default: 64M]",
    ),
)

_TELLING = _together(
    _of_output("--json", "as_json", is_flag=True, help="Events on stdout, a JSON object a line."),
    _of_output(
        "-q",
        "--quiet",
        is_flag=True,
        help="Of our own words, only errors and who is not ok.",
    ),
    _of_output(
        "--progress",
        type=click.Choice([when.value for when in When]),
        default="auto",
        metavar="WHEN",
        help="A progress line: auto (on a terminal), always, never.",
    ),
    COLOR,
    _of_output(
        "-S",
        "--largest-status",
        is_flag=True,
        help="Exit with the largest remote status; no status is 255.",
    ),
)

OUTPUT = _together(_NO_PREFIX, _GATHERING, _TELLING)
COPY_OUTPUT = _together(_NO_PREFIX, _TELLING)

CLOSING = _together(
    _of_closing(
        "--close-timeout",
        type=values.seconds,
        default=3.0,
        metavar="S",
        help="Seconds a remote may take to close, before its connection is reset.  [default: 3]",
    ),
    _of_closing(
        "--require-remote-close",
        is_flag=True,
        help="Exit with 4 if any connection was not closed by its remote.",
    ),
    _of_closing(
        "--ports",
        "port_budget",
        type=values.port_budget,
        default="100%",
        metavar="N|P%",
        help="Local ports to use towards one destination, and reserved ports in all; the rest is for other "
        "programs.  [default: 100%]",
    ),
    _of_closing(
        "--port-wait",
        type=values.seconds,
        default=120.0,
        metavar="S",
        help="Seconds a host may wait, beyond -t, for a local port to become free.  [default: 120]",
    ),
    _of_closing(
        "--bind",
        "bind_address",
        metavar="ADDR",
        help="The local address to connect from.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which of the hosts; the fields are the options."""

    nodes: tuple[str, ...]
    exclude: tuple[str, ...]
    groups: tuple[str, ...]
    everything: bool
    pick: int | None

    @property
    def is_empty(self) -> bool:
        """Whether nobody is named."""
        return not (self.nodes or self.groups or self.everything)

    def hosts(self, inventory: Inventory) -> tuple[Host, ...]:
        """The chosen hosts.

        Raises:
            InventoryError: An expression, with its place.
            UsageError: Nobody is chosen, or there is nothing to choose from.
        """
        return inventory.select(
            nodes=self.nodes,
            exclude=self.exclude,
            groups=self.groups,
            everything=self.everything,
            pick=self.pick,
        )


def read_inventory(files: Sequence[str]) -> Inventory:
    """Read the hosts files; ``-`` is our standard input.

    Raises:
        InventoryError: A file, with the place in it.
    """
    with open(STDIN, "rb", closefd=False) as stdin:
        return Inventory.load(*files, stdin=stdin)


def take(kind: type[Taken], parameters: dict[str, Any]) -> Taken:
    """Make a ``kind``, a dataclass, of its fields among ``parameters``, and take those out."""
    names = [field.name for field in fields(kind) if field.name in parameters]  # type: ignore[arg-type]  # checked by fields() itself
    return kind(**{name: parameters.pop(name) for name in names})
