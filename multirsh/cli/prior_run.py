"""``--rerun`` and ``--resume``: a run that takes its hosts, and maybe its command, from one before."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from multirsh.cli import options
from multirsh.errors import UsageError
from multirsh.events import JsonObject
from multirsh.inventory import fold
from multirsh.inventory.draft import NO_GROUPS
from multirsh.inventory.inventory import Candidates, Inventory, Selectors, select_listed
from multirsh.journal import Journal, RunState, RunSummary
from multirsh.journal.record import RecordedRoutes
from multirsh.journal.resuming import (
    DONE,
    ResumeLock,
    Standing,
    Standings,
    differences,
    hosts_standing,
    lock_for_resuming,
    resumed,
    route_differences,
    standings,
)
from multirsh.model import Host, HostRoute, Status

SETTLES_WITHIN_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorRun:
    """The run before.

    Attributes:
        entry: Standing it is.
        plan: What it was to do.
        found: Where all its hosts stand.
        which: Whom to run again; ``None`` to go on with it.
        reached: How its hosts were reached; of an older record, and a library's, that is not known.
        may_differ: Whether something else may say how hosts are reached: a hosts file, or an option.
        claimed: Keeps others from going on with it, as long as this is there.
    """

    entry: RunSummary
    plan: JsonObject
    found: Standings
    which: Standing | None
    reached: RecordedRoutes = field(default_factory=RecordedRoutes)
    may_differ: bool = False
    claimed: ResumeLock | None = field(default=None, compare=False)

    @classmethod
    def find(cls, wanted: options.JournalOptions, *, may_differ: bool = False) -> Self | None:
        """Look for the run; ``None`` if none is wanted for.

        Args:
            wanted: The options.
            may_differ: Whether something else than the record may say how hosts are reached.

        Raises:
            UsageError: There is none such, or it cannot be gone on with.
        """
        if wanted.rerun is None and wanted.resume is None:
            return None
        if wanted.rerun is not None and wanted.resume is not None:
            raise UsageError("--rerun runs again, and --resume goes on", hint="use one of them")
        if wanted.resume is not None and wanted.no_journal:
            raise UsageError(
                "--resume needs a record of what it does, lest it is done once more",
                hint="leave --no-journal out",
            )
        journal = Journal()
        entry = _settled(journal, journal.find(wanted.resume or (wanted.rerun.run if wanted.rerun else "")))
        if entry.state is RunState.RUNNING:
            raise UsageError(f"the run {entry.run} goes on", hint="wait for its end, or end it")
        claimed = None
        if wanted.resume is not None:
            claimed = lock_for_resuming(journal.folder, entry.run)
            _check_last_of_its_line(journal, entry)
        plan, outcomes = journal.plan(entry), journal.outcomes(entry)
        if wanted.rerun is not None:
            plan = {key: value for key, value in plan.items() if key not in {"before", "hosts", "resumes"}}
        return cls(
            entry=entry,
            plan=plan,
            found=standings(plan, outcomes),
            which=None if wanted.rerun is None else Standing(wanted.rerun.which),
            reached=_reached(plan, entry),
            may_differ=may_differ,
            claimed=claimed,
        )

    # What to run.

    def command(self) -> str:
        """Its command, where none is given.

        Raises:
            UsageError: It was no command.
        """
        if self.plan.get("kind") != "run":
            raise UsageError(
                f"the run {self.entry.run} was no command: {self.entry.command}",
                hint="give all its words again",
            )
        return self.entry.command

    def completed(self, context: options.CommandOptions) -> options.CommandOptions:
        """The context of its command, where that is not given."""
        return replace(
            context,
            directory=self.plan.get("cwd") if context.directory is None else context.directory,
            is_template=context.is_template or self.plan.get("template", False),
        )

    @property
    def has_tty(self) -> bool:
        """Whether its command had a terminal."""
        return bool(self.plan.get("tty"))

    @property
    def sudo(self) -> str | None:
        """As whom its command ran, if not as who logged in."""
        return self.plan.get("sudo")

    # On whom.

    def all_routes(self, now: Mapping[str, HostRoute]) -> Mapping[str, HostRoute]:
        """What the new run's record says of how hosts were reached.

        Args:
            now: How those are reached that it runs on; one that goes on stands for the others, too.
        """
        return now if self.which is not None else {**self.reached.routes, **now}

    def hosts(self, files: Sequence[str], selection: options.HostSelection) -> Sequence[Host]:
        """Candidate hosts: with files, the selection from them; without, the recorded hosts, as recorded.

        Raises:
            InventoryError: A file or an expression, with its place.
            UsageError: No host is chosen, or the record does not say how its hosts were reached.
        """
        if not files:
            return self._recorded(selection)
        inventory = options.read_inventory(files)
        is_narrowed = bool(selection.exclude) or selection.pick is not None
        if selection.is_empty and not is_narrowed and self.which is None:
            return _listed(inventory, self.found)
        return selection.hosts(inventory)

    def _recorded(self, selection: options.HostSelection) -> Sequence[Host]:
        routes = self.reached.routes
        unknown = [name for name in self.found if name not in routes]
        if unknown:
            raise UsageError(
                f"the record of {self.entry.run} does not say how these hosts were reached: {fold(unknown)}",
                hint="name a hosts file with -f, whose settings hold then",
            )
        hosts = {name: routes[name].host(name) for name in self.found}
        chosen = self._chosen(hosts, selection, pick=None)
        if self.which is not None:
            chosen = [host for host in chosen if self.found[host.name] is self.which]
            if not chosen:
                some = "host" if selection.is_empty else "selected host"
                raise UsageError(f"no {some} of {self.entry.run} was {self.which}", hint=self._way_out())
        if selection.pick is None:
            return chosen
        left = replace(selection, nodes=(), exclude=(), groups=())
        return self._chosen({host.name: host for host in chosen}, left, pick=selection.pick)

    def _chosen(
        self, hosts: Mapping[str, Host], selection: options.HostSelection, *, pick: int | None
    ) -> Sequence[Host]:
        wish = Selectors(
            nodes=selection.nodes,
            exclude=selection.exclude,
            groups=selection.groups,
            all_hosts=selection.everything,
            pick=pick,
        )
        known = Candidates(
            hosts,
            NO_GROUPS,
            f"the run {self.entry.run}",
            is_listed=True,
            unlisted_hint="hosts that are not in it need a run of their own, or a hosts file with -f",
        )
        return select_listed(wish, known)

    def compared(self, routes: Mapping[str, HostRoute]) -> Sequence[str]:
        """Lines for people about hosts that are reached otherwise than they were.

        Args:
            routes: How the hosts are reached now.

        Raises:
            UsageError: There are some, and nothing was said that may be the reason.
        """
        found = route_differences(self.reached.routes, routes)
        if found and not self.may_differ:
            raise UsageError(
                f"hosts of {self.entry.run} would be reached otherwise than recorded: {'; '.join(found)}",
                hint="give the options that it was run with, or name a hosts file with -f",
            )
        return found

    def remaining(self, chosen: Sequence[Host], plan: Mapping[str, Any], *, repeats: bool) -> Sequence[Host]:
        """Whom of the chosen hosts to run on; nobody, if there is nothing left to go on with.

        Args:
            chosen: By ``hosts``.
            plan: Of the new run.
            repeats: Whether the command may be repeated where it may have begun.

        Raises:
            UsageError: Nobody is to run again; the runs differ; hosts are in doubt.
        """
        if self.which is not None:
            hosts = [host for host in chosen if self.found.get(host.name) is self.which]
            if not hosts:
                raise UsageError(
                    f"no selected host was {self.which} in {self.entry.run}", hint=self._way_out()
                )
            return hosts
        self.check(plan, [host.name for host in chosen])
        doubt = hosts_standing(self.found, Standing.UNKNOWN)
        if doubt and not repeats:
            raise UsageError(
                f"in {self.entry.run} the command may have begun on {_hosts(doubt)}, and nobody knows how it"
                f" ended: {fold(doubt)}",
                hint="look there; --retry-command runs it there again, '--rerun notrun' leaves them alone",
            )
        return [host for host in chosen if self.found[host.name] not in DONE]

    def check(self, plan: Mapping[str, Any], names: Collection[str] | None = None) -> None:
        """See to it that the new run is to do the same.

        Args:
            plan: Of the new run.
            names: Its hosts, done or not; ``None`` if they may be others.

        Raises:
            UsageError: It is not, and in what.
        """
        known = list(self.found)
        found = differences(self.plan, known, plan, known if names is None else names)
        if found:
            raise UsageError(
                f"this is not the run {self.entry.run}: {'; '.join(found)}",
                hint="give the same again, or begin a run of its own",
            )

    def continued(self, plan: dict[str, Any]) -> dict[str, Any]:
        """The plan of the new run, with where it comes from."""
        if self.which is not None:
            return plan | {"reruns": self.entry.run}
        return resumed(plan, self.entry.run, self.found)

    @property
    def earlier(self) -> Mapping[Status, int]:
        """Of a run that goes on, what counts for the exit code beside its own hosts."""
        if self.which is not None:
            return {}
        return {
            Status.OK: len(hosts_standing(self.found, Standing.OK)),
            Status.FAILED: len(hosts_standing(self.found, Standing.FAILED)),
        }

    def announcement(self, left: Sequence[Host]) -> str:
        """What people are told before it begins."""
        if self.which is not None:
            return f"multirsh: {_hosts(left)} of {self.entry.run}: {self.which}"
        if not left:
            return f"multirsh: nothing of {self.entry.run} is left to do: {self._counted()}"
        return f"multirsh: goes on with {self.entry.run}: {self._counted()}; now {_hosts(left)}"

    def _way_out(self) -> str:
        """What to take in place of a run of which no host ended so; a rerun may have reached none."""
        first = self.plan.get("reruns")
        counted = self._counted()
        if first is None or self.which is None:
            return counted
        return f"{counted}; it took its hosts from {first}: '--rerun {self.which} {first}' does so again"

    def _counted(self) -> str:
        counts = {which: len(hosts_standing(self.found, which)) for which in Standing}
        return ", ".join(f"{which} {count}" for which, count in counts.items() if count)


def _reached(plan: JsonObject, entry: RunSummary) -> RecordedRoutes:
    """How the hosts of a run were reached; nothing, if its record is from before that was kept.

    Raises:
        UsageError: What the record says of it cannot be.
    """
    row = plan.get("reached")
    try:
        return RecordedRoutes() if row is None else RecordedRoutes.from_dict(row)
    except (ValueError, UsageError) as error:
        raise UsageError(
            f"the record of {entry.run} is damaged: how its hosts were reached cannot be read: {error}",
            hint="it cannot be gone on with",
        ) from None


def _settled(journal: Journal, entry: RunSummary) -> RunSummary:
    """The same; of a writer that was just killed, a child may hold the lock for a moment, until exec(3)."""
    until = time.monotonic() + SETTLES_WITHIN_S
    while entry.state is RunState.RUNNING and time.monotonic() < until:
        time.sleep(0.02)
        entry = journal.find(entry.run)
    return entry


def _check_last_of_its_line(journal: Journal, entry: RunSummary) -> None:
    """See to it that nobody has gone on with the run yet: what was done since then is not in its record.

    Raises:
        UsageError: Somebody has.
    """
    later = next((one.run for one in journal.runs() if one.resumes == entry.run), None)
    if later is not None:
        raise UsageError(
            f"{later} has gone on with {entry.run}, and its record knows what was done since",
            hint=f"--resume {later} goes on from there; --rerun chooses from either",
        )


def _listed(inventory: Inventory, names: Collection[str]) -> Sequence[Host]:
    """Those of the names that the files know."""
    return [inventory.by_name[name] for name in names if name in inventory.by_name]


def _hosts(some: Collection[object]) -> str:
    return f"{len(some)} host{'' if len(some) == 1 else 's'}"
