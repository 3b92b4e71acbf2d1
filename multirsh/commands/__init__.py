"""What a host is asked to run, made into the one text for its login shell."""
