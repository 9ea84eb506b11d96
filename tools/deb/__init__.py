"""Builds the Debian package: the program with all it depends on, in /usr/lib/narration-cleanup.

Debian's own Python packages are older than what the program needs, so it brings its own; only
Python itself is Debian's. What is compiled lies there once for each version of Python, side by
side.
"""
