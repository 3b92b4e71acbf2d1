"""The command line: words to values, values to the engine, events to the output, an exit code at the end."""
