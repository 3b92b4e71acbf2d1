"""What a caller of the library gets: one result a host, and all of them together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from multirsh.errors import HostError
from multirsh.inventory import fold
from multirsh.model import ClosedBy, Failure, Host, Seconds, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class HostResult:
    """How one host ended. One host's failure is data, not an exception.

    A result is handed on as soon as it is known; who closed the connection
    may be known a little later (``await result.closed()``).

    Attributes:
        host: The host.
        status: How it ended.
        exit_status: 0-255 where the command exited, else ``None``.
        signal: Name without ``SIG`` where a signal ended the command, else ``None``.
        error: Why there is neither, or ``None``.
        attempts: How many were made; 0 for ``not_run``.
        local_port: The local port it left from, or ``None``.
        stdout: All that the command wrote, exactly.
        stderr: All that the command wrote, exactly.
        seconds: Where the time went; ``close`` is ``None`` here, since it lies ahead.
    """

    host: Host
    status: Status
    exit_status: int | None = None
    signal: str | None = None
    error: Failure | None = None
    attempts: int = 1
    local_port: int | None = None
    stdout: bytes = field(default=b"", repr=False)
    stderr: bytes = field(default=b"", repr=False)
    seconds: Seconds = field(default_factory=Seconds)
    closing: asyncio.Future[ClosedBy | None] | None = field(default=None, repr=False, compare=False)

    @property
    def is_ok(self) -> bool:
        """Whether the command exited with 0."""
        return self.status is Status.OK

    @property
    def closed_by(self) -> ClosedBy | None:
        """Who closed the connection first, as far as is known now."""
        if self.closing is None or not self.closing.done() or self.closing.cancelled():
            return None
        return self.closing.result()

    async def closed(self) -> ClosedBy | None:
        """Wait until the connection is closed, within the close timeout; who closed it first."""
        return None if self.closing is None else await asyncio.shield(self.closing)

    def text(self) -> str:
        """The command's standard output as text; bytes that are not UTF-8 become U+FFFD."""
        return self.stdout.decode("utf-8", "replace")

    def raise_for_status(self) -> None:
        """Raise unless the status is ``ok``.

        Raises:
            HostError: With the host, the status and the failure.
        """
        if not self.is_ok:
            raise HostError(self.host.name, self.status, self.error)


class Results(Mapping[str, HostResult]):
    """The results of a run by host name, in the order they came."""

    def __init__(self, results: Mapping[str, HostResult]) -> None:
        self._results = dict(results)

    def __getitem__(self, name: str) -> HostResult:
        return self._results[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    def __repr__(self) -> str:
        return (
            f"<Results {', '.join(f'{status}: {fold(part)}' for status, part in self.by_status().items())}>"
        )

    @property
    def is_ok(self) -> bool:
        """Whether every host is ok."""
        return all(result.is_ok for result in self._results.values())

    def where(self, wanted: Callable[[HostResult], bool]) -> Results:
        """The results for which ``wanted`` is true."""
        return Results({name: result for name, result in self._results.items() if wanted(result)})

    def by_status(self) -> dict[Status, Results]:
        """The results of each status that somebody has, in the order of ``Status``."""
        return {
            status: part
            for status in Status
            if (part := self.where(lambda result, status=status: result.status is status))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        }

    def by_output(self) -> list[tuple[bytes, Results]]:
        """Hosts with equal standard output together, the largest group first."""
        groups: dict[bytes, dict[str, HostResult]] = {}
        for name, result in self._results.items():
            groups.setdefault(result.stdout, {})[name] = result
        return [
            (out, Results(part)) for out, part in sorted(groups.items(), key=lambda group: -len(group[1]))
        ]

    def raise_for_status(self) -> None:
        """Raise unless every host is ok.

        Raises:
            ExceptionGroup: Of one ``HostError`` for each host that is not.
        """
        errors = [
            HostError(name, result.status, result.error)
            for name, result in self._results.items()
            if not result.is_ok
        ]
        if errors:
            raise ExceptionGroup(f"{len(errors)} of {len(self)} hosts are not ok", errors)
