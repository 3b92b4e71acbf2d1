"""The output room: events in, exact bytes out."""
