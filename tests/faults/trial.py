"""One run harmed at one system call, and what must hold after it and after the next run."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.injection import Call, Fault, calls_of, run_traced
from tests.faults.server import ToolServer, crashed
from tests.faults.truth import Truth, make_truth, result_of

_MUST_BE_CONFIRMED = ("fsync", "fdatasync")


@dataclass
class Tally:
    """What became of a series of trials: after `unfinished` of them the next run did not finish."""

    tries: int = 0
    missed: int = 0
    failures: list[str] = field(default_factory=list)
    lost: int = 0
    unfinished: int = 0
    codes: Counter[int] = field(default_factory=Counter)


def arguments_for(truth: Truth) -> list[str]:
    """The command line of a run over both halves."""
    cache, database = str(truth.cache.directory), str(truth.database)
    return ["run", "--json", "--cache-dir", cache, "--requests-db", database]


def environment_for(truth: Truth) -> dict[str, str]:
    """A state folder and a metrics page of this trial's own."""
    return {
        "NARRATION_CLEANUP_STATE_DIR": str(truth.root / "state"),
        "NARRATION_METRICS_TEXTFILE": str(truth.root / "narration.prom"),
        "HOME": str(truth.root),
    }


def calls_of_a_run(
    server: ToolServer, folder: Path, *, wal: bool, after: Fault | None = None
) -> list[Call]:
    """The system calls of an unharmed run; paths in them begin with `folder`/dry.

    With `after`, of the run that follows one which was harmed so.
    """
    truth = make_truth(folder / "dry", wal=wal)
    if after is not None:
        _harm(server, truth, after)
    code = run_traced(server, arguments_for(truth), truth.root, environment_for(truth))
    assert (code, truth.losses(), truth.unfinished()) == (0, [], []), complaint(truth)
    return calls_of(truth.root / "trace")


def complaint(truth: Truth) -> str:
    """What the run said, for a failed assertion."""
    return (truth.root / "output").read_text() + (truth.root / "errors").read_text()


def try_all(
    server: ToolServer,
    folder: Path,
    faults: Sequence[Fault],
    *,
    wal: bool,
    after: Fault | None = None,
) -> Tally:
    """Try each fault on a fresh sample. `failures` says all that was not as it must be.

    With `after`, a run harmed in that way goes before.
    """
    tally = Tally()
    for number, fault in enumerate(faults):
        truth = make_truth(folder / str(number), wal=wal)
        if after is not None:
            _harm(server, truth, after)
        found = _try(server, truth, fault, tally)
        tally.failures += [f"{fault}: {line}" for line in found]
        if not found:
            shutil.rmtree(truth.root)
    return tally


def _harm(server: ToolServer, truth: Truth, fault: Fault) -> int:
    arguments, environment = arguments_for(truth), environment_for(truth)
    return run_traced(server, arguments, truth.root, environment, fault.options)


def _try(server: ToolServer, truth: Truth, fault: Fault, tally: Tally) -> list[str]:
    code = _harm(server, truth, fault)
    if not _was_hit(truth):
        tally.missed += 1
        return []
    tally.tries += 1
    tally.codes[code] += 1
    said = complaint(truth)
    wrong = at_once = truth.losses()
    if crashed(said):
        wrong = [*wrong, f"a crash: {said.splitlines()[-1]}"]
    if code == 0:
        wrong = [*wrong, *(f"exit 0, yet {left}" for left in truth.unfinished())]
        wrong = [*wrong, *_unconfirmed(truth, fault)]
    wrong = [*wrong, *_untrue(truth)]
    unfinished = run_again(server, truth)
    later = truth.losses()
    tally.unfinished += bool(unfinished)
    tally.lost += bool(at_once or later)
    return [*wrong, *unfinished, *(f"after the next run: lost {line}" for line in later)]


def run_again(server: ToolServer, truth: Truth) -> list[str]:
    """The next run, by itself: in words, how it did not finish."""
    output, errors = truth.root / "output", truth.root / "errors"
    server.prepare(arguments_for(truth), output, errors, environment_for(truth))
    code = server.go()
    wrong = [f"the next run: exit {code}: {complaint(truth)}"] if code != 0 else []
    return [*wrong, *(f"after the next run: left {line}" for line in truth.unfinished())]


def _was_hit(truth: Truth) -> bool:
    """Whether the run came to the call: strace marks what it did there."""
    trace = (truth.root / "trace").read_text(errors="replace")
    return any(mark in trace for mark in ("(INJECTED)", "--- SIG", "+++ killed by SIGKILL"))


def _unconfirmed(truth: Truth, fault: Fault) -> list[str]:
    """Exit 0 although the cache could not be made durable."""
    if fault.call.name in _MUST_BE_CONFIRMED and "/cache/" in fault.call.arguments:
        return [f"exit 0 although {fault.call.name} failed"]
    return []


def _untrue(truth: Truth) -> list[str]:
    """What the run's own report calls done, and is not."""
    document = result_of(truth.root / "output")
    if document is None:
        return []
    actions = document.get("actions", [])
    assert isinstance(actions, list)
    left = set(truth.unfinished())
    return [
        f"reported as done: {action}"
        for action in actions
        if action["outcome"] == "done" and _claimed(action) & left
    ]


def _claimed(action: dict[str, object]) -> set[str]:
    """What an action that is reported as done says is gone: its entry too, unless it says not."""
    claimed = {f"file {action.get('file')}"}
    if "follows in a later run" not in str(action.get("note")):
        claimed.add(f"entry {action.get('key')}")
    return claimed
