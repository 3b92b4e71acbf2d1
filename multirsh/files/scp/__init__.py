"""scp's protocol, with the program scp(1) at the other end, for hosts that have no SFTP server."""
