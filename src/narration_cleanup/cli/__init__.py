"""The commands, one module each; `cli` puts them together."""
