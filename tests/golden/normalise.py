"""What varies by nature, and what it is replaced with. Everything else is compared as it is.

- the folder of the situation: ``<root>``
- the program's version, under a key or a label of that name: ``<version>``
- how long a run took, and when it ended: zeros of the same type and form
- the time of a JSON log line, which is read from the clock when it is written: zeros, in its form
- the same two in a page of metrics: ``<seconds>``, ``<time>``
- a process id and name, in a text: ``<pid>``, ``<name>``; a port of 127.0.0.1: ``<port>``
- this user, where something is said to be theirs or allowed to them: ``<user>``
"""

from __future__ import annotations

import json
import os
import pwd
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import narration_cleanup

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?([+-]\d\d:\d\d)")
_VARYING_TIMES = ("finished_at", "time")
_USER = re.escape(pwd.getpwuid(os.geteuid()).pw_name)
_VERSION = re.escape(narration_cleanup.__version__)
_RULES = (
    (re.compile(rf"\b(narration-cleanup )({_VERSION})\b"), r"\1<version>"),
    (re.compile(r"^Python \S+, SQLite \S+, extras: .*$", re.M), "Python <version>, <others>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:<port>"),
    (re.compile(r"\bpid \d+, [\w.-]+,"), "pid <pid>, <name>,"),
    (re.compile(r"\b(pid|process) \d+"), r"\1 <pid>"),
    (re.compile(r'version="[^"]*"'), 'version="<version>"'),
    (re.compile(r"^(narration_cleanup_last_run_duration_seconds\S*) \S+$", re.M), r"\1 <seconds>"),
    (re.compile(r"^(narration_cleanup_\w+_timestamp_seconds\S*) [1-9]\S+$", re.M), r"\1 <time>"),
    (re.compile(rf"\b(owner|belongs to) {_USER}\b"), r"\1 <user>"),
    (re.compile(rf"^{_USER} may\b"), "<user> may"),
)


def text(raw: str, root: Path) -> str:
    """Log lines, messages and pages."""
    for folder in (str(root.resolve()), str(root)):
        raw = raw.replace(folder, "<root>")
    for pattern, replacement in _RULES:
        raw = pattern.sub(replacement, raw)
    return raw


def document(raw: str, root: Path) -> str:
    """A JSON document, indented, with its members in the order in which they were written."""
    return json.dumps(_value(_parsed(raw), root), indent=1) + "\n"


def json_lines(raw: str, root: Path) -> str:
    """JSON log lines, with their members in the order in which they were written."""
    values = [_value(_parsed(line), root) for line in raw.splitlines()]
    return "".join(json.dumps(value) + "\n" for value in values)


def _parsed(raw: str) -> Any:
    assert raw.isascii(), "what JSON can escape is escaped: it may be shown on a terminal"
    return json.loads(raw, object_pairs_hook=_members)


def _members(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        assert key not in found, f"the member {key} is written twice"
        found[key] = value
    return found


def _value(value: Any, root: Path, key: str = "") -> Any:
    if isinstance(value, dict):
        return {text(name, root): _value(member, root, name) for name, member in value.items()}
    if isinstance(value, list):
        return [_value(member, root) for member in value]
    if key == "duration_seconds" and isinstance(value, int | float):
        return type(value)(0)
    if not isinstance(value, str):
        return value
    if key == "version":
        return value.replace(narration_cleanup.__version__, "<version>")
    if key in _VARYING_TIMES and (found := _TIME.fullmatch(value)):
        return f"0000-00-00T00:00:00{found[2]}"
    return text(value, root)
