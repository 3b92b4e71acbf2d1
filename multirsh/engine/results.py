"""What a caller of the library gets: one result for each host, and all of them together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from multirsh.errors import HostError
from multirsh.inventory import fold
from multirsh.model import ClosedBy, Failure, Host, Seconds, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class HostResult:
    """How one host ended. A host's failure is data, not an exception.

    A result is returned as soon as it is known; which end closed the
    connection may only be known a little later (``await result.closed()``).

    Attributes:
        host: The host.
        status: How the host ended.
        exit_status: The exit status, 0 to 255, if the command exited; otherwise ``None``.
        signal: The name, without ``SIG``, of the signal that ended the command; otherwise ``None``.
        error: Why there is neither an exit status nor a signal, or ``None``.
        attempts: The number of attempts; 0 for ``not_run``.
        local_port: The local port of the connection, or ``None``.
        stdout: Everything that the command wrote to standard output, byte for byte.
        stderr: Everything that the command wrote to standard error, byte for byte.
        seconds: The time that each part took, in seconds; ``close`` is ``None``, since that comes later.
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
        """Whether the command exited with status 0."""
        return self.status is Status.OK

    @property
    def closed_by(self) -> ClosedBy | None:
        """Which end closed the connection first; ``None`` if that is not known yet."""
        if self.closing is None or not self.closing.done() or self.closing.cancelled():
            return None
        return self.closing.result()

    async def closed(self) -> ClosedBy | None:
        """Wait until the connection is closed, within the close timeout; return which end closed it first."""
        return None if self.closing is None else await asyncio.shield(self.closing)

    def text(self) -> str:
        """Return the command's standard output as text; bytes that are not UTF-8 become U+FFFD."""
        return self.stdout.decode("utf-8", "replace")

    def raise_for_status(self) -> None:
        """Raise an exception unless the status is ``ok``.

        Raises:
            HostError: The status is another one; the exception has the host, the status and the failure.
        """
        if not self.is_ok:
            raise HostError(self.host.name, self.status, self.error)


class Results(Mapping[str, HostResult]):
    """The results of a run by host name, in the order in which the hosts ended."""

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
        """Return the results for which ``wanted`` returns true."""
        return Results({name: result for name, result in self._results.items() if wanted(result)})

    def by_status(self) -> dict[Status, Results]:
        """Return the results of each status that some host has, in the order of ``Status``."""
        return {
            status: part
            for status in Status
            if (part := self.where(lambda result, status=status: result.status is status))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        }

    def by_output(self) -> list[tuple[bytes, Results]]:
        """Return each standard output with the hosts that wrote it, the largest group first."""
        groups: dict[bytes, dict[str, HostResult]] = {}
        for name, result in self._results.items():
            groups.setdefault(result.stdout, {})[name] = result
        return [
            (out, Results(part)) for out, part in sorted(groups.items(), key=lambda group: -len(group[1]))
        ]

    def raise_for_status(self) -> None:
        """Raise an exception unless every host is ok.

        Raises:
            ExceptionGroup: Some host is not; the group has one ``HostError`` for each of those.
        """
        errors = [
            HostError(name, result.status, result.error)
            for name, result in self._results.items()
            if not result.is_ok
        ]
        if errors:
            raise ExceptionGroup(f"{len(errors)} of {len(self)} hosts are not ok", errors)
