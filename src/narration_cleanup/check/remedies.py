"""The problems of a survey as findings, each code with its remedy."""

from __future__ import annotations

from collections.abc import Iterator

from narration_cleanup.check.finding import Finding, failed, warning
from narration_cleanup.core.errors import TROUBLESHOOTING
from narration_cleanup.core.model import Problem, Problems, Severity

SHOWN = 3

_REMEDIES = {
    "malformed_entry": "a run keeps these entries; correct them while the service is stopped, or, "
    "where it is most of them, look for a version that knows the service's format",
    "outside_cache": "if the service uses another path for the same folder, set "
    "cache.dir_in_index; one alone was not written by the service",
    "dir_in_index": "set it in the configuration file or the environment, as the message has it",
    "index_format": "look for a version of narration-cleanup that knows the service's format, or, "
    "if it is another program's index, set cache.fields and cache.index_member",
    "unreadable_time": "correct these times, or set how they are written "
    "(requests.time_format, cleanup.timezone)",
    "zone_differs": "set cleanup.timezone to the name of the service's zone: an offset changes "
    "with daylight saving",
    "zone_contradicted": "set it to the name of that zone, or to auto",
    "zone_open": "set requests.timezone to the zone that the service writes; in a third one, live "
    "requests could be cancelled",
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
    "not_a_table": "set requests.table to the name of the table itself",
    "no_rights": "grant the rights that are named to the role",
    "index_busy": "run again when the service is less busy",
    "index_locked": "run again when the process that holds the lock has ended",
    "own_folder": "give the folder to this user, or remove what is there while no run is at work",
    "not_a_database": "set requests.db to the database of the service",
    "irregular_file": "remove what lies there while the service is stopped; SQLite makes its own",
    "database_locked": "find the process that holds the lock (fuser, lsof), and end it if it hangs",
    "database_read_only": "let this user write to the database (SQLite: to its folder too; "
    "PostgreSQL: on the primary, with default_transaction_read_only off)",
    "database_unreadable": "give this user the right to read the database",
    "database_io_error": "look at the disk (dmesg), then check the database (PRAGMA quick_check)",
    "database_unreachable": "see that the server is up, the address is right and the network "
    "allows it",
    "pooled_connection": "give the address of the server itself, or of a pool in session mode",
    "bucket_unreachable": "check the endpoint, the bucket's name and the credentials",
    "database_corrupt": "restore the database from a backup; it is never repaired",
    "database_slow": "look at what the server is busy with",
    "disk_full": "free disk space",
    "query_too_costly": "look at the table's generated columns, triggers and checks",
    "unset_time": "let the service write NULL where it means no time",
    "unsuitable_column": "correct requests.columns",
    "no_mtime": "correct the program that writes these files, or touch them",
    "atime": "set cache.age_from to mtime",
    "set_aside": "narration-cleanup run puts them back",
    "index_fixed": "mount the folder, or chattr -i -a the index",
    "index_lock": "give this user the right to read the lock file of the index",
    "library_failed": "check the AWS_* variables and the proxies",
    "bucket_missing": "correct cache.dir, or make the bucket",
    "directory_replaced": "run again when the folder is in its place",
    "locale": "set LC_ALL=C.UTF-8, or the locale of the service",
    "mixed_times": "set requests.time_format",
}
_ANY = f"look up this code in the troubleshooting page ({TROUBLESHOOTING})"


def findings_of(problems: Problems, area: str) -> Iterator[Finding]:
    """One finding for each code, failed where it makes a run partly done."""
    by_code: dict[str, list[Problem]] = {}
    for problem in problems:
        by_code.setdefault(problem.code, []).append(problem)
    for code, found in by_code.items():
        first = found[0]
        times = problems.count([code])
        message = first.message if times == 1 else f"{times:,} times: {first.message}"
        subjects = [problem.subject for problem in found if problem.subject is not None][:SHOWN]
        is_failure = first.severity is Severity.PROBLEM or code == "zone_contradicted"
        judge = failed if is_failure else warning
        yield judge(f"{area}.{code}", message, _REMEDIES.get(code, _ANY), subjects)
