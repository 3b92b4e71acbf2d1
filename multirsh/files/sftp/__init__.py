"""SFTP, version 3: the client's half, over any conversation."""
