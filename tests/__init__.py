"""The tests, laid out as the package is; `samples` makes what they work on."""
