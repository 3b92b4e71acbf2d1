"""Local ports: which are held, which the kernel still keeps, and who closed first."""

from multirsh.ports.ledger import Lease, Ledger, LedgerStatistics
from multirsh.ports.sockets import Endpoint

__all__ = ["Endpoint", "Lease", "Ledger", "LedgerStatistics"]
