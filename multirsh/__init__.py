"""multirsh."""
