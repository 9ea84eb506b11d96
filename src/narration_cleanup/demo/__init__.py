"""A sandbox to try the tool in."""
