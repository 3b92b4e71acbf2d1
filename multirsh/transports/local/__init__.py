"""The local transport: runs commands on this machine, under any number of host names."""
