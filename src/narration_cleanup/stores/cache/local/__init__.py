"""A cache in a directory: with the service's index, or without."""
