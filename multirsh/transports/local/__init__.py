"""This machine itself, under as many names as wanted."""
