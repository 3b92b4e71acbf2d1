"""Local programs that stand for hosts and gates; each runs in its own session and is ended as a whole."""
