"""Running as somebody else by sudo, whose password is answered to a prompt of this run's own only.

::

    options.py        what the caller says: as whom
    wrapping.py       the text that runs a text by sudo, with marks that only this attempt knows
    scanner.py        finds the marks in output, wherever it is cut
    conversation.py   what sudo writes and what it is answered; the user's input once the command has begun
    trial.py          whether a password that nobody has accepted yet is given to one host more
    elevation.py      the shell around them: one fleet's
"""
