"""The packages as a stranger gets them: built twice, installed and removed on clean systems."""
