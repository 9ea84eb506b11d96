"""Documents, log lines, pages and messages of every command, kept as they are: see __main__."""
