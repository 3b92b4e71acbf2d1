"""Local ports: which are held, which the kernel still keeps, and who closed first."""

from multirsh.ports.ledger import Endpoint, Lease, Ledger, LedgerStatistics

__all__ = ["Endpoint", "Lease", "Ledger", "LedgerStatistics"]
