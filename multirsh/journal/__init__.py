"""What happened, kept: a record of every run, which outlives it, and what is made of records later."""
