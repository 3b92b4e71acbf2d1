r"""Tools to test programs that use multirsh, and to test new transports.

Fake hosts with a given behaviour, without a network::

    fake = FakeTransport({"db1": Behaviour(stdout=b"ok\n"), "db2": Behaviour(fails=refused("db2"))})
    async with Fleet(hosts, transports={TransportName.SSH: fake}) as fleet:
        results = await fleet.run("uptime").gather()

``multirsh.testing.conformance`` has the tests that every transport passes.
"""

from __future__ import annotations

from multirsh.testing.fakes import Behaviour, FakeConnection, FakeTransport, refused

__all__ = ["Behaviour", "FakeConnection", "FakeTransport", "refused"]
