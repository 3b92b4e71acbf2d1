"""Copies: files to hosts (push) and files from hosts (pull).

The engine treats a copy as one more kind of work: it runs over a command's
standard input and output, as ``Connection.run`` gives them, so that every
transport that can hold a conversation can carry files.

::

    jobs.py         what a whole run copies: checked before anything connects
    sftp/, scp/     one host's push or pull, by the protocol that the host has
    access.py       conversations with programs on the host
    host_shell.py   a shell on the host, for what SFTP cannot do
    sources.py      the local files of a push, read once for many hosts
    destination.py  the local folder of a pull; follows no link below it
    concurrency.py  threads for the disk; bounds on files and bytes in flight
    results.py      what has become of each file, and of the copy
    paths.py, modes.py, options.py  pure: names and patterns, permissions, options
"""
