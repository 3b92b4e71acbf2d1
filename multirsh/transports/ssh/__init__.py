"""SSH, by asyncssh: its files read once, its connections closed by the remote first."""
