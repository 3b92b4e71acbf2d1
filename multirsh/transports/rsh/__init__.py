"""rsh, by the rcmd protocol: reserved ports, trusted addresses, no encryption; the remote closes first."""
