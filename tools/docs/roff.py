"""The few words of roff that a manual page needs, for `man` of any Unix."""

from __future__ import annotations

from collections.abc import Iterable


def escaped(text: str) -> str:
    """Text as roff shows it unchanged; every dash is the one that can be typed."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def bold(text: str) -> str:
    """Words to be typed as they are."""
    return f"\\fB{escaped(text)}\\fR"


def italic(text: str) -> str:
    """Words that stand for others, and names of files."""
    return f"\\fI{escaped(text)}\\fR"


def heading(title: str) -> list[str]:
    """The lines that begin a section."""
    return [f".SH {escaped(title.upper())}"]


def subheading(title: str) -> list[str]:
    """The lines that begin a part of a section."""
    return [f".SS {escaped(title)}"]


def paragraphs(text: str) -> list[str]:
    """Running text; an empty line in it begins a new paragraph."""
    lines = []
    for part in text.split("\n\n"):
        lines += [".PP", escaped(" ".join(part.split()))]
    return lines


def item(tag: str, text: str) -> list[str]:
    """A term, in roff already, and what is said of it, indented below."""
    return [".TP", tag, escaped(" ".join(text.split()))]


def example(lines: Iterable[str]) -> list[str]:
    """Lines shown as they are."""
    return [".PP", ".RS 4", ".nf", *(escaped(line) for line in lines), ".fi", ".RE"]


def page(name: str, section: int, title: str, lines: Iterable[str]) -> str:
    """A whole page; it bears no date, so that the same program makes the same page."""
    head = [
        '.\\" Made from the program by tools/docs; changes here are overwritten.',
        f'.TH "{escaped(name.upper())}" {section} "" "narration-cleanup" "{escaped(title)}"',
        ".ad l",  # ragged: long variables and paths would tear holes into the lines
        ".nh",
    ]
    return "\n".join([*head, *lines]) + "\n"
