"""Programs of this machine that stand for hosts, and for gates: each in a session of its own, ended whole."""
