"""What each exit code means, for the manual page and docs/exit-codes.md."""

from __future__ import annotations

from narration_cleanup.core.exit_codes import ExitCode

MEANINGS: dict[ExitCode, tuple[str, str]] = {
    ExitCode.DONE: (
        "done",
        "All that was planned is done, or there was nothing to do.",
    ),
    ExitCode.FAILED: (
        "failed",
        "Nothing of the work was done, or the command had an error; the last line says which. Of "
        "a run: neither target (cache, requests) could be surveyed, or all that it tried failed.",
    ),
    ExitCode.USAGE: (
        "usage",
        "An option or argument that the command does not know. Nothing was changed.",
    ),
    ExitCode.PARTLY_DONE: (
        "partly done",
        "Some of the work was done, and some could not be: an item failed, an entry cannot be "
        "judged, or one target (cache or requests) could not be cleaned, while the other one "
        "could, even where there was nothing to do in it.",
    ),
    ExitCode.REFUSED: (
        "refused for safety",
        "It could have been done, but it would not have been safe: the clock jumped, or more would "
        "be removed than cleanup.max_delete allows: nothing was changed. More would be cancelled "
        "than cleanup.max_cancel allows: no request was changed.",
    ),
    ExitCode.BUSY: (
        "another run holds the lock",
        "Another run is at work on the same cache or database. Nothing was changed.",
    ),
    ExitCode.BAD_CONFIGURATION: (
        "bad configuration",
        "A setting is wrong, the cache directory is missing or no narration cache, or the database "
        "is another user's: a line for each fault. Nothing was changed. (A database that cannot be "
        "used is 1, or 3 beside a cache.)",
    ),
    ExitCode.INTERRUPTED: (
        "stopped by SIGINT",
        "A run finishes the current item, commits the index and reports; the next one continues.",
    ),
    ExitCode.TERMINATED: (
        "stopped by SIGTERM or SIGHUP",
        "As for SIGINT. A SIGHUP that is ignored, as under nohup, stays so.",
    ),
}

_PAGE = """\
<!-- Made from the program by `python3 dev.py docs`; changes here are overwritten. -->

# Exit codes

| code | meaning | what happened |
|---|---|---|
{rows}

`check` uses 1 where something failed, and with `--strict` 3 where there are warnings. Under systemd
the shipped units count 75 and 143 as success: another run does the work, or the machine is going
down. The journal adds systemd's own names for these numbers, which mean nothing here:
`1/FAILURE`, `2/INVALIDARGUMENT`, `3/NOTIMPLEMENTED`, `4/NOPERMISSION`, `75/TEMPFAIL`, `78/CONFIG`.

In a script, 0 and 75 need no action:

<!-- not run: it would need a run that fails -->
```sh
narration-cleanup run --quiet
case $? in
  0|75) ;;                                        # done, or being done by another run
  3|4)  echo "look at: narration-cleanup history" ;;
  78)   echo "look at: narration-cleanup config validate" ;;
  *)    echo "look at: narration-cleanup check" ;;
esac
```
"""


def exit_codes_page() -> str:
    """docs/exit-codes.md: every code that the program ends with."""
    rows = [f"| {code:d} | {MEANINGS[code][0]} | {MEANINGS[code][1]} |" for code in ExitCode]
    return _PAGE.format(rows="\n".join(rows))
