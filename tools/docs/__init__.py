"""Keeps the documents true: runs what they show, and writes what is made from the program."""
