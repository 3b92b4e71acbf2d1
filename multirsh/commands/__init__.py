"""Commands: what the user wants to run, turned into what each host is sent."""
