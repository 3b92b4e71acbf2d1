"""A fleet on loopback to practise on: real SSH servers in one process.

::

    async with Lab(LabOptions(hosts=10)) as lab:
        ...  # run on the hosts of lab.hosts_file, as on any others
"""

from __future__ import annotations

from multirsh.lab.fleet import Lab, LabOptions
from multirsh.lab.plan import Addressing
from multirsh.lab.service import LabStatistics
from multirsh.ports.sockets import Endpoint

__all__ = ["Addressing", "Endpoint", "Lab", "LabOptions", "LabStatistics"]
