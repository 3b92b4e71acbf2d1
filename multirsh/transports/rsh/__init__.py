"""rsh, by the rcmd protocol: reserved ports and trusted addresses, nothing encrypted; the remote closes first."""
