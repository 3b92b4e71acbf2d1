"""Running commands as another user by sudo, doas or su; the password is sent only to a prompt of this run.

::

    options.py        which user, by which program
    wrapping.py       POSIX text that runs a job by sudo, and the marks that it writes
    conversation.py   what sudo writes and what it is answered, until the command begins
    trial.py          whether one more host gets a password that no host has accepted yet
    failures.py       why a command did not begin
    runner.py         runs commands so on the hosts of a run
"""
