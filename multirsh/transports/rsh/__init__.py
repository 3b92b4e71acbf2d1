"""rsh, by the rcmd protocol: reserved ports, trusted addresses, nothing encrypted; the remote closes first."""
