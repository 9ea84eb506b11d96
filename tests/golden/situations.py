"""The situations whose documents are kept: each makes its service, and runs commands on it.

A run is made twice, of two services that are alike, since a document and its log as JSON lines
come from one run, and the log as text from another.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from tests.golden.program import SYSTEMD, Hook
from tests.golden.schemas import members
from tests.golden.service import DAY, MINUTE, Service, failing, once
from tests.receiver import receiver

Situation = Callable[[Path], Service]
SITUATIONS: dict[str, Situation] = {}
METRICS = '[metrics]\ntextfile = "{}/metrics/page.prom"\n'


def _situation(made: Situation) -> Situation:
    SITUATIONS[made.__name__] = made
    return made


def _service(root: Path, config: str = "", *, cache: bool = True, db: bool = True) -> Service:
    (root / "metrics").mkdir(parents=True)
    return Service(root, config=METRICS.format(root) + config, cache=cache, db=db)


def _both(
    root: Path,
    make: Callable[[Path], Service],
    *arguments: str,
    hook: Callable[[Service], Hook] | None = None,
) -> Service:
    """A run's document with JSON log lines of one service, its text log of another one."""
    given = arguments or ("run",)
    first, second = make(root / "1"), make(root / "2")
    second.log(given[0], *given, hook=hook and hook(second))
    first.document(given[0], *given, hook=hook and hook(first))
    assert first.codes == second.codes
    first.kept |= second.kept
    return first


def _afterwards(
    service: Service, *, check: bool = False, after: timedelta = timedelta(0)
) -> Service:
    """How things are after a run, as the other commands report it."""
    for name in ("stats", "check", "history") if check else ("stats", "history"):
        service.document(name, name, after=after)
    return service


def _page(service: Service) -> None:
    """The page that the last run wrote."""
    service.text("metrics.prom", (service.root / "metrics" / "page.prom").read_text())


@_situation
def before_the_first_run(root: Path) -> Service:
    service = _both(root, _service, "dry-run")
    for name in ("stats", "check", "history"):
        service.document(name, name)
    service.log("prometheus.prom", "stats", "--prometheus", out=True)
    service.document("history_show", "history", "show", "7")
    service.document("explain", "explain", service.entries[4].key)
    service.document("explain_what_nothing_has", "explain", "nothing")
    service.document("stats_of_one_voice", "stats", "--voice-style", "ghostly_whisper")
    service.document("stats_of_no_voice", "stats", "--voice-style", "nobody")
    return service


@_situation
def all_done(root: Path) -> Service:
    service = _afterwards(_both(root, _service), check=True)
    _page(service)
    service.document("history_show", "history", "show", "1")
    service.document("explain_what_is_gone", "explain", service.entries[0].key, after=MINUTE)
    service.log("explain", "explain", service.entries[0].name, after=MINUTE, out=True)
    service.log("prometheus.prom", "stats", "--prometheus", out=True)
    service.document("run_with_nothing_to_do", "run", after=2 * MINUTE)
    service.document("dry_run_with_nothing_to_do", "dry-run", after=3 * MINUTE)
    service.document("history_of_two", "history", "-n", "2", after=4 * MINUTE)
    service.document("history_of_none", "history", "--since", "0m", after=4 * MINUTE)
    return service


@_situation
def all_done_with_other_logs(root: Path) -> Service:
    quiet = _service(root / "quiet")
    quiet.log("quiet", "run", "-q")
    verbose = _service(root / "verbose")
    verbose.log("verbose", "run", "-v")
    nothing = verbose.call("run", after=MINUTE)
    verbose.text("nothing_to_do.log", nothing.err)
    verbose.kept |= quiet.kept
    verbose.codes |= quiet.codes
    return verbose


@_situation
def everything_is_on(root: Path) -> Service:
    """Eviction, deletion of finished rows, a keep pattern, a TTL of a voice, rows overwritten."""
    more = {
        "cache": 'max_size_mb = 0.05\nenforce_max_size = true\nkeep = ["variant-0000"]\n'
        "ttl_days_by_voice_style = { demonic_growl = 30 }\n",
        "requests": "delete_finished_after_days = 30\nerror_text = 'given up'\n",
    }

    def make(place: Path) -> Service:
        service = _service(place)
        for section, settings in more.items():
            service.set(section, settings)
        return service

    service = _afterwards(_both(root, make))
    service.sql("UPDATE requests SET status = 'completed' WHERE error = 'given up'")
    service.document("run_after_the_service_completed_them", "run", after=2 * MINUTE)
    return service


@_situation
def no_index(root: Path) -> Service:
    def make(place: Path) -> Service:
        service = _service(place, db=False)
        (service.cache / "cache_index.json").unlink()
        service.set("cache", 'index = "none"\n')
        return service

    return _afterwards(_both(root, make))


@_situation
def requests_alone(root: Path) -> Service:
    return _afterwards(_both(root, lambda place: _service(place, cache=False)))


def _not_removable(service: Service) -> Hook:
    return failing(service.entries[0].name, PermissionError(errno.EACCES, "Permission denied"))


@_situation
def partial(root: Path) -> Service:
    """One file cannot be removed; of four entries it cannot be said what to do with them."""

    def make(place: Path) -> Service:
        service = _service(place)
        service.change_index(1, file_path="/srv/elsewhere/old.mp3")
        service.change_index(3, created_at="the day before")
        service.change_index(4, file_size="large")
        service.change_index(5, created_at="2027-01-01T00:00:00")
        service.sql("UPDATE requests SET created_at = 'soon' WHERE status = 'queued'")
        service.sql("UPDATE requests SET status = 'lost' WHERE status = 'failed'")
        return service

    service = _both(root, make, hook=_not_removable)
    _page(service)
    service.document("history_show", "history", "show", "1")
    service.document("dry-run", "dry-run")
    return _afterwards(service, check=True)


@_situation
def nothing_removable(root: Path) -> Service:
    """No file can be moved or replaced, and there are no requests: failed as a whole."""

    def hook(service: Service) -> Hook:
        return failing("", OSError(errno.EROFS, "Read-only file system"))

    return _afterwards(_both(root, lambda place: _service(place, db=False), hook=hook))


@_situation
def changed_meanwhile(root: Path) -> Service:
    """The service uses an expired file, and takes up a request, while the run is at work."""

    def hook(service: Service) -> Hook:
        def change(event: str, arguments: tuple[object, ...]) -> None:
            # Written at the true time, by which the tool sees that it is in use.
            (service.cache / service.entries[1].name).write_bytes(b"anew")
            service.sql(
                "UPDATE requests SET status = 'completed' WHERE status = 'generating' "
                "AND created_at < '2026-11-23T11:00:00'"
            )

        return once("os.rename", change)

    return _afterwards(_both(root, _service, hook=hook))


@_situation
def index_torn(root: Path) -> Service:
    def make(place: Path) -> Service:
        service = _service(place)
        service.tear_index()
        return service

    service = _both(root, make)
    service.document("dry-run", "dry-run")
    return _afterwards(service, check=True)


@_situation
def no_table(root: Path) -> Service:
    def make(place: Path) -> Service:
        service = _service(place)
        service.sql("ALTER TABLE requests RENAME TO other")
        return service

    return _afterwards(_both(root, make), check=True)


@_situation
def no_column(root: Path) -> Service:
    service = _service(root)
    service.sql("ALTER TABLE requests RENAME COLUMN created_at TO born")
    for name in ("dry-run", "run", "check"):
        service.document(name, name)
    return service


@_situation
def database_missing(root: Path) -> Service:
    def make(place: Path) -> Service:
        service = _service(place)
        service.database.unlink()
        return service

    return _afterwards(_both(root, make), check=True)


@_situation
def both_failed(root: Path) -> Service:
    def make(place: Path) -> Service:
        service = _service(place)
        service.tear_index()
        service.sql("DROP TABLE requests")
        return service

    service = _both(root, make)
    _page(service)
    service.document("dry-run", "dry-run")
    return _afterwards(service, check=True)


@_situation
def cache_missing(root: Path) -> Service:
    def make(place: Path) -> Service:
        service = _service(place)
        service.cache.rename(place / "elsewhere")
        return service

    service = _both(root, make)
    service.document("dry-run", "dry-run")
    return _afterwards(service, check=True)


@_situation
def too_many(root: Path) -> Service:
    service = _both(root, _service, "run", "--max-delete", "10%")
    service.document("dry-run", "dry-run", "--max-delete", "2")
    return _afterwards(service)


@_situation
def clock_jumped(root: Path) -> Service:
    def make(place: Path) -> Service:
        service = _service(place)
        service.call("run", "--requests-db", str(service.database))
        return service

    service, text = make(root / "1"), make(root / "2")
    service.document("dry-run", "dry-run", after=DAY)
    service.document("run", "run", after=DAY)
    text.log("run", "run", after=DAY)
    service.kept |= text.kept
    _afterwards(service, check=True, after=DAY)
    service.document("run_all_the_same", "run", "--ignore-clock", after=DAY + MINUTE)
    return service


@_situation
def interrupted(root: Path) -> Service:
    """SIGTERM when the first file is about to be moved; SIGINT before anything is looked at."""

    def in_the_middle(service: Service) -> Hook:
        return once("os.rename", lambda *_: os.kill(os.getpid(), signal.SIGTERM))

    service = _both(root, _service, hook=in_the_middle)
    early = _service(root / "early")
    hook = once("sqlite3.connect", lambda *_: os.kill(os.getpid(), signal.SIGINT))
    early.document("run_at_the_start", "run", hook=hook)
    service.kept |= early.kept
    service.codes |= early.codes
    return _afterwards(service)


@_situation
def busy_then_killed(root: Path) -> Service:
    """Another run holds the lock, is seen at work, and is killed; the next one recovers."""
    service = _service(root / "service")
    holder = subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.golden.hold"),
            *(str(root / "holder"), str(service.config)),
        ],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        service.document("run", "run", after=MINUTE)
        service.log("run", "run", after=MINUTE)
        for name in ("stats", "check", "history"):
            service.document(f"{name}_while_it_runs", name, after=MINUTE)
        holder.kill()
    service.document("history_after_it_was_killed", "history", after=2 * MINUTE)
    service.document("stats_after_it_was_killed", "stats", after=2 * MINUTE)
    service.document("run_that_recovers", "run", after=2 * MINUTE)
    _page(service)
    service.log("check", "check", "-q", after=3 * MINUTE)
    return service


@_situation
def bad_configuration(root: Path) -> Service:
    wrong = (
        '[cache]\nttl_days = "a week"\nmax_size = 5\n[requests]\nabandoned_timeout_hours = -1\n'
        "[clean]\nup = 1\n"
    )

    def make(place: Path) -> Service:
        service = _service(place)
        service.config.write_text(f'[cleanup]\nstate_dir = "{place / "state"}"\n{wrong}')
        service.environ = {"NARRATION_CACHE_KEEP_ALL": "1"}
        return service

    service = _both(root, make)
    service.document("dry-run", "dry-run")
    service.document("explain", "explain", "nothing")
    service.document("config_show", "config", "show")
    service.log("config_validate", "config", "validate", out=True)
    return _afterwards(service, check=True)


@_situation
def no_toml(root: Path) -> Service:
    service = _service(root)
    service.config.write_text("[cache\n")
    for name in ("run", "stats", "check", "history"):
        service.document(name, name)
    service.document("config_show", "config", "show")
    service.log("config_validate", "config", "validate", out=True)
    return service


@_situation
def nothing_configured(root: Path) -> Service:
    service = _service(root, cache=False, db=False)
    for name in ("run", "dry-run", "stats", "check", "history"):
        service.document(name, name)
    service.document("config_show", "config", "show")
    service.log("config_validate", "config", "validate", out=True)
    return service


@_situation
def configuration(root: Path) -> Service:
    """Each origin of a value: a file, a variable, a credential, a default; a secret; a warning."""
    service = _service(root, '[alerts]\nping_url = "https://example.com/secret"\n')
    (root / "credentials").mkdir()
    (root / "credentials" / "alerts.urls").write_text("json://example.com/hush\n")
    service.environ = {
        "CREDENTIALS_DIRECTORY": str(root / "credentials"),
        "NARRATION_CACHE_TTL_DAYS": "14",
        "NARRATION_CACHE_TTL_DAY": "15",
        "NARRATION_CACHE_KEEP": "intro-*,outro-*",
    }
    service.document("config_show", "config", "show")
    service.log("config_validate", "config", "validate", out=True)
    service.document("check", "check")
    return service


@_situation
def history_damaged(root: Path) -> Service:
    service = _service(root)
    service.call("run")
    history = service.root / "state" / "history.db"
    history.write_bytes(b"no database at all" * 100)
    for name in ("history", "stats", "check"):
        service.document(name, name, after=MINUTE)
    service.document("history_show", "history", "show", "1", after=MINUTE)
    service.document("run", "run", after=MINUTE)
    return service


@_situation
def no_state(root: Path) -> Service:
    """A file where the state folder should be: the work is done, and no history is kept."""

    def make(place: Path) -> Service:
        service = _service(place)
        (place / "state").write_text("in the way")
        return service

    return _afterwards(_both(root, make), check=True)


@_situation
def names_that_could_do_harm(root: Path) -> Service:
    """Escape sequences, line ends, what is no UTF-8: whole in documents, shown safely in logs."""

    def make(place: Path) -> Service:
        service = _service(place)
        for name in (
            b"\x1b[31mred.mp3",
            b"two\nlines.mp3",
            b"caf\xe9.mp3",
            "\u00e9t\u00e9.mp3".encode(),
        ):
            service.audio(os.fsdecode(name), 100, 10 * DAY)
        service.change_index(
            2, voice_style="\x1b]0;title\x07 \U0001f47b", file_path="../\x1b[2J.mp3"
        )
        service.sql(
            "UPDATE requests SET request_id = 'a' || char(27) || '[1m' WHERE status = 'cancelled'"
        )
        service.sql("UPDATE requests SET status = 'queued' WHERE status = 'cancelled'")
        return service

    return _afterwards(_both(root, make, "run", "-v"))


@_situation
def changes_refused(root: Path) -> Service:
    """The table refuses each change: every cancellation fails, the cache is done."""

    def make(place: Path) -> Service:
        service = _service(place)
        service.sql(
            "CREATE TRIGGER never BEFORE UPDATE ON requests "
            "BEGIN SELECT RAISE(ABORT, 'requests stay'); END"
        )
        return service

    return _afterwards(_both(root, make))


@_situation
def alerts(root: Path) -> Service:
    """What arrives where somebody is to hear: pings and messages, by the run and by a unit."""
    with receiver() as heard:
        config = (
            f'[alerts]\non = "always"\nurls = ["{heard.url("hook", "json")}"]\n'
            f'ping_url = "{heard.url("ping")}"\n'
        )
        service = _service(root, config)

        def keep(name: str) -> None:
            service.text(f"{name}.txt", "\n".join(_sent(path, body) for path, body in heard.got))
            heard.got.clear()

        service.codes["run"] = service.call("run", hook=_not_removable(service)).code
        keep("partial")
        service.codes["again"] = service.call("run", after=MINUTE).code
        keep("success")
        service.tear_index()
        service.sql("DROP TABLE requests")
        service.codes["failed"] = service.call("run", after=2 * MINUTE).code
        keep("failed")
        service.codes["refused"] = service.call("run", after=DAY).code
        keep("refused")
        service.log("trial", "notify", "--test", out=True)
        keep("trial")
        service.log("started", "notify", "--unit", "narration-cleanup.service", "--start", out=True)
        keep("started")
        ends = {
            "unit_failed": ("exit-code", "exited", "1"),
            "unit_partial": ("exit-code", "exited", "3"),
            "unit_success": ("success", "exited", "0"),
            "unit_killed": ("oom-kill", "killed", "KILL"),
        }
        for name, (result, code, status) in ends.items():
            service.environ = {
                "MONITOR_UNIT": "narration-cleanup.service",
                "MONITOR_SERVICE_RESULT": result,
                "MONITOR_EXIT_CODE": code,
                "MONITOR_EXIT_STATUS": status,
                "MONITOR_INVOCATION_ID": "0f" * 16,
            }
            service.log(name, "notify", "--unit", "narration-cleanup.service", out=True)
            keep(name)
        service.environ = {}
        heard.answers = [404]
        service.document("run_that_nobody_hears", "run", after=DAY + MINUTE)
        keep("not_heard")
    return service


def _sent(path: str, body: str) -> str:
    """One request, as text; of Apprise's JSON what is ours."""
    if path == "/hook":
        sent = json.loads(body)
        body = "\n".join(f"{name}: {sent[name]}" for name in ("title", "type", "message"))
    return f"POST {path}\n{body}\n"


@_situation
def schedule(root: Path) -> Service:
    """What systemd knows: nothing, a timer whose run failed, one that is not active."""
    service = _service(root)
    service.document("none", "systemd", "status")
    service.environ = {"FAKE_SYSTEMD": SYSTEMD}
    service.document("no_timer", "systemd", "status")
    service.tool("systemctl", f"cat {root / 'shown'}")
    timer = (
        "Result=success\nNextElapseUSecRealtime=@1795456800\nNextElapseUSecMonotonic=infinity\n"
        "LastTriggerUSec=@1795434725\nId=narration-cleanup.timer\nLoadState=loaded\n"
        "ActiveState={}\nUnitFileState=enabled\n\n"
        "ExecMainStartTimestamp=@1795434725\nExecMainExitTimestamp={}\nExecMainStatus=1\n"
        "Result=exit-code\nId=narration-cleanup.service\nLoadState=loaded\nActiveState={}\n"
    )
    for name, given in {
        "failed": ("active", "@1795434726", "failed"),
        "running": ("active", "", "activating"),
        "inactive": ("inactive", "", "inactive"),
    }.items():
        (root / "shown").write_text(timer.format(*given))
        service.document(name, "systemd", "status")
        if name == "inactive":
            service.document(f"check_{name}", "check")
            service.document(f"stats_{name}", "stats")
    return service


@_situation
def usage(root: Path) -> Service:
    """What is no value or no use of an option: one line. (Typer's own words are not kept.)"""
    service = _service(root)
    for name, arguments in {
        "bad_value": ("run", "--ttl-days", "-3"),
        "bad_since": ("history", "--since", "yesterday"),
        "no_schema": ("schema", "running"),
        "two_forms": ("stats", "--prometheus", "--json"),
        "version": ("--version",),
    }.items():
        service.log(name, *arguments, out=True)
    return service


@_situation
def schemas(root: Path) -> Service:
    """What the schemas promise of the documents."""
    service = _service(root)
    for name in ("check", "config", "explain", "history", "run", "stats", "systemd"):
        ended = service.call("schema", name)
        service.codes[name] = ended.code
        service.text(f"{name}.txt", members(json.loads(ended.out)))
    return service
