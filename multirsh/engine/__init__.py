"""The runner: which host starts when, for how long, and what is told of it."""
