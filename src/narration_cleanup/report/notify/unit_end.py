"""How a systemd unit ended: what systemd passes to the unit started by its end, and its journal."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from narration_cleanup.apply.result import RunOutcome
from narration_cleanup.core.text import printable, printable_line
from narration_cleanup.report.run_record import KILLED, RUNNING, RunRecord, Trigger

LINES_TOLD = 20
COMMAND_SECONDS = 10.0
RECENT = 600.0
"""Seconds for which the newest run of the history can be the one that has just ended."""
_UNIT_FAILED = "d9b373ed55a64feb8242e02dbe79a49c"
"""What systemd calls its note that a unit has failed; see systemd.journal-fields(7)."""

_OUTCOMES = {
    0: RunOutcome.SUCCESS,
    3: RunOutcome.PARTIAL,
    4: RunOutcome.REFUSED,
    75: RunOutcome.BUSY,
    78: RunOutcome.REFUSED,
    130: RunOutcome.INTERRUPTED,
    143: RunOutcome.INTERRUPTED,
}
_WORDS = {
    RunOutcome.SUCCESS: "Cleanup tasks completed successfully",
    RunOutcome.PARTIAL: "Cleanup tasks completed in part: see the log",
    RunOutcome.REFUSED: "The run refused to work: see the log",
    RunOutcome.BUSY: "Another run was at work",
    RunOutcome.INTERRUPTED: "The run was asked to stop, and did",
    RunOutcome.FAILED: "Cleanup tasks failed: see the log",
}
# The properties in `systemctl show`, by the names that OnFailure= units get.
_PROPERTIES = {
    "Result": "MONITOR_SERVICE_RESULT",
    "ExecMainCode": "MONITOR_EXIT_CODE",
    "ExecMainStatus": "MONITOR_EXIT_STATUS",
    "InvocationID": "MONITOR_INVOCATION_ID",
}
_CODES = {"1": "exited", "2": "killed", "3": "dumped"}  # CLD_EXITED and so on, see waitid(2)


@dataclass(frozen=True, slots=True)
class UnitEnd:
    """How a unit ended, in systemd's words: `result` (`success`, `exit-code`, `timeout`, …),
    `code` (`exited`, `killed`, `dumped`), `status` (an exit code, or a signal's name or number),
    the last lines of its journal, and systemd's id of this start."""

    unit: str
    result: str
    code: str
    status: str
    lines: tuple[str, ...] = ()
    invocation: str = ""


def unit_end(unit: str, environ: Mapping[str, str]) -> UnitEnd:
    """How ``unit`` ended: from the variables that systemd 251 and later gives to the unit that was
    started by it, else asked of ``systemctl``. What cannot be found out is empty."""
    properties = {name: environ.get(name, "") for name in _PROPERTIES.values()}
    if environ.get("MONITOR_UNIT") != unit or not properties["MONITOR_SERVICE_RESULT"]:
        properties = _ask_systemctl(unit)
    invocation = properties.get("MONITOR_INVOCATION_ID", "")
    return UnitEnd(
        unit,
        properties.get("MONITOR_SERVICE_RESULT", ""),
        properties.get("MONITOR_EXIT_CODE", ""),
        properties.get("MONITOR_EXIT_STATUS", ""),
        tuple(_journal(unit, invocation)),
        invocation,
    )


def record_of_unit(end: UnitEnd, now: float) -> RunRecord:
    """The record of a run as far as systemd knows it; its counts stay in the run's own history."""
    outcome, message = _outcome(end)
    exited = end.code == "exited" and end.status.isdigit()
    return RunRecord(
        outcome=outcome,
        exit_code=int(end.status) if exited else None,
        message=message,
        trigger=Trigger.SYSTEMD.value,
        started_at=now,
        finished_at=now,
    )


def records_with(end: UnitEnd, before: Sequence[RunRecord], now: float) -> list[RunRecord]:
    """The runs up to ``end``, oldest first; ``before`` are those that the history has, newest
    first. A unit that ended before its run could begin is in the journal alone."""
    record = record_of_unit(end, now)
    newest = before[0] if before else None
    recorded = newest is not None and (
        newest.outcome in {KILLED, RUNNING}
        if newest.finished_at is None
        else newest.exit_code == record.exit_code and now - newest.finished_at < RECENT
    )
    if newest is not None and recorded:
        ended = msgspec.structs.replace(record, undone=newest.undone, started_at=newest.started_at)
        return [*reversed(before[1:]), ended]
    since = 0.0 if newest is None else newest.finished_at or newest.started_at
    earlier = [
        RunRecord(outcome=RunOutcome.FAILED.value, started_at=at, finished_at=at)
        for at in _failures(end, since)
    ]
    return [*reversed(before), *earlier, record]


def _failures(end: UnitEnd, since: float) -> list[float]:
    """When the unit failed after ``since``, before it ended as ``end`` says: as systemd noted."""
    output = _output(
        [
            *("journalctl", "--no-pager", "--quiet", "--output=json", "--lines=1000"),
            *(f"--since=@{since + 1:.0f}", f"MESSAGE_ID={_UNIT_FAILED}", f"UNIT={end.unit}"),
        ]
    )
    found = []
    for line in output.splitlines():
        with suppress(msgspec.MsgspecError, ValueError):
            note = msgspec.json.decode(line, type=dict[str, object])
            if note.get("INVOCATION_ID") != end.invocation or not end.invocation:
                found.append(int(str(note["__REALTIME_TIMESTAMP"])) / 1e6)
    return found if end.invocation else found[:-1]


def _outcome(end: UnitEnd) -> tuple[str, str]:
    if end.code == "exited" and end.status.isdigit():
        outcome = _OUTCOMES.get(int(end.status), RunOutcome.FAILED)
        if end.result in {"success", "exit-code", ""}:
            return outcome.value, _WORDS[outcome]
    elif end.result == "success":  # ended by a signal that counts as a clean end
        return RunOutcome.INTERRUPTED.value, _WORDS[RunOutcome.INTERRUPTED]
    how = f"systemd says: {end.result or 'unknown'}"
    if end.code and end.status:
        how += f" ({end.code}, {end.status})"
    ended = KILLED if end.code in {"killed", "dumped"} else RunOutcome.FAILED.value
    return ended, f"The run did not end by itself; {printable(how)}"


def _ask_systemctl(unit: str) -> dict[str, str]:
    output = _output(["systemctl", "show", f"--property={','.join(_PROPERTIES)}", "--", unit])
    found = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    properties = {_PROPERTIES[name]: value for name, value in found.items() if name in _PROPERTIES}
    code = properties.get("MONITOR_EXIT_CODE", "")
    return properties | {"MONITOR_EXIT_CODE": _CODES.get(code, "")}


def _journal(unit: str, invocation: str) -> list[str]:
    """The last lines of the run; of the unit, where the run is not known."""
    command = ["journalctl", "--no-pager", "--quiet", "--output=cat", f"--lines={LINES_TOLD}"]
    if invocation:
        # The run's own lines and systemd's about it.
        run = [f"_SYSTEMD_INVOCATION_ID={invocation}", "+", f"INVOCATION_ID={invocation}"]
        output = _output([*command, *run])
    else:
        output = _output([*command, f"--unit={unit}"])
    return [printable_line(line) for line in output.splitlines()]


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace")
