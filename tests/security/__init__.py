"""Attacks by other users of the machine, and what the tool does about each."""
