"""Servers, and a network of their own to stand in, for the tests that use real sockets.

- ``namespace``: a network namespace, its sockets' states, and a way to stand in it
- ``sshd``, ``dropbear``: the real ones, private and on a high port
- ``hooked``: asyncssh's server, for what the real ones cannot be made to do
- ``scripted``: TCP servers that no server should be: silence, junk, FIN and RST at bad moments
- ``accounts``, ``keys``, ``log``, ``processes``, ``loop_thread``: what those are made of
- ``requirement``: skip with a reason on a machine that lacks something, but never in CI

The fixtures are in ``tests/conftest.py``.
"""
