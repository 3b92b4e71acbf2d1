"""Copies: files to hosts (push) and files from hosts (pull).

A copy is one more work of an attempt: it talks over a command's standard input
and output, as ``Connection.run`` gives them, so that every transport that can
hold a conversation can carry files.

::

    jobs.py        what a whole run copies: made before anything connects
    push, pull     one host's copy, by sftp/ or scp/
    pipe.py        a conversation with a program on the host
    host_shell.py  another, with a shell, for what SFTP has no words for
    acls.py        access control lists of what is overwritten, by that shell
    landing.py     writes of a pull below the target folder, following no link
    blocks.py      reads of a push, once for all hosts that are about as far

Pure, that is without loop, socket, clock and file: ``options``, ``entries``,
``modes``, ``names``, ``globs``, ``sftp/packets``, ``scp/records``, ``words``.
"""
