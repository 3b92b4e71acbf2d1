"""The engine: it runs a command on hosts, and decides which host starts when and what is reported."""
