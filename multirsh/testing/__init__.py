r"""For those who test code built on multirsh, and for those who write transports.

Fakes: hosts that do as they are told, without a network::

    fake = FakeTransport({"db1": Behaviour(stdout=b"ok\n"), "db2": Behaviour(fails=refused("db2"))})
    async with Fleet(hosts, transports={TransportName.SSH: fake}) as fleet:
        results = await fleet.run("uptime").gather()

And ``multirsh.testing.conformance``, the tests that every transport passes.
"""

from __future__ import annotations

from multirsh.testing.fakes import Behaviour, FakeConnection, FakeTransport, refused

__all__ = ["Behaviour", "FakeConnection", "FakeTransport", "refused"]
