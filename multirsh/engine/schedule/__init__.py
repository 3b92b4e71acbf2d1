"""Which host starts when, and what follows from what: the pure half of a run. Nothing here awaits."""
