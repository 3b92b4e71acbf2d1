"""What happened, kept: a record of every run, which outlives it, and what is made of records later.

``Recorder`` writes one run's record, ``Journal`` reads them all. Nothing here
knows an event loop.
"""

from multirsh.journal.entry import Entry, Outcome, State
from multirsh.journal.journal import Journal
from multirsh.journal.pruning import Limits
from multirsh.journal.recorder import Recorder

__all__ = ["Entry", "Journal", "Limits", "Outcome", "Recorder", "State"]
