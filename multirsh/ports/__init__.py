"""Local ports: who holds one, which the kernel still keeps and until when, and who gets the next."""

from multirsh.ports.allocator import PortAllocator
from multirsh.ports.budget import EVERY_PORT, PortBudget
from multirsh.ports.lease import Lease, Route
from multirsh.ports.sockets import Endpoint
from multirsh.ports.tally import PortStatistics, Tally

__all__ = [
    "EVERY_PORT",
    "Endpoint",
    "Lease",
    "PortAllocator",
    "PortBudget",
    "PortStatistics",
    "Route",
    "Tally",
]
