"""One protocol a room: how a host is reached, and how its connection ends."""
