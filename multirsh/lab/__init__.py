"""A fleet on loopback to practise on: real SSH servers in one process."""
