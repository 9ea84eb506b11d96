"""Problems of a survey as findings: one for each code, since a thousand entries have one cause."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from narration_cleanup.check.finding import Finding, failed, warning
from narration_cleanup.core.model import Problem, Severity

SHOWN = 3

_REMEDIES = {
    "malformed_entry": "correct or remove these entries in the index while the service is stopped",
    "outside_cache": "if the service uses another path for the same folder, set "
    "cache.dir_in_index; one alone was not written by the service",
    "dir_in_index": "set it in the configuration file or the environment, as the message has it",
    "index_format": "look for a version of narration-cleanup that knows the service's format",
    "unreadable_time": "correct these times, or set how they are written "
    "(requests.time_format, cleanup.timezone)",
    "zone_differs": "nothing, if the service is meant to have another zone than this process",
    "zone_contradicted": "set it to the zone named, or to auto",
    "zone_open": "set requests.timezone, if the service is known to use one of the two",
    "created_in_future": "correct the machine's clock, or set cleanup.timezone to the zone that "
    "the service writes its times in",
    "most_files_missing": "finish the restore, or set cache.dir to the folder that "
    "the service writes to",
    "keep_matches_nothing": "correct cache.keep, or remove the pattern from it",
    "over_limit": "raise the limit, or keep less (cache.keep)",
    "unknown_status": "map it with requests.statuses, or name it in requests.statuses.ignored",
    "index_unreadable": "if the service is not writing it, restore it from a backup",
    "database_missing": "correct requests.db (--requests-db, NARRATION_REQUESTS_DB)",
    "no_such_table": "set requests.table",
    "foreign_word": "set requests.statuses.cancelled as the line says",
    "no_such_column": "set requests.columns",
    "mixed_times": "set requests.time_format",
}
_ANY = "the message says what to do"


def findings_of(problems: Iterable[Problem], area: str) -> Iterator[Finding]:
    """One finding for each code, failed where it makes a run partly done."""
    by_code: dict[str, list[Problem]] = {}
    for problem in problems:
        by_code.setdefault(problem.code, []).append(problem)
    for code, found in by_code.items():
        first = found[0]
        message = first.message if len(found) == 1 else f"{len(found):,} times: {first.message}"
        subjects = [problem.subject for problem in found if problem.subject is not None][:SHOWN]
        is_failure = first.severity is Severity.PROBLEM or code == "zone_contradicted"
        judge = failed if is_failure else warning
        yield judge(f"{area}.{code}", message, _REMEDIES.get(code, _ANY), subjects)
