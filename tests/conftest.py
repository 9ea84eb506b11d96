"""What holds for every test: none of the caller's settings, nobody's own folders."""

import gc
import os
import re
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import hypothesis
import pytest

from narration_cleanup.settings.sources import SYSTEM_STATE
from tests.opened import close_all

# Everything in the environment that changes what the program does or how its output looks, or that
# leads to something outside the test: the tool's settings, colours, sizes, systemd, time zone,
# default folders, databases and buckets.
_FOREIGN = re.compile(
    r"(NARRATION_|CLICOLOR|XDG_|TYPER_|PG|AWS_)\w*"
    r"|FORCE_COLOR|NO_COLOR|PY_COLORS|TTY_COMPATIBLE|TTY_INTERACTIVE|COLUMNS|LINES|TERMINAL_WIDTH"
    r"|JOURNAL_STREAM|INVOCATION_ID|NOTIFY_SOCKET|(STATE|CACHE|RUNTIME|LOGS)_DIRECTORY"
    r"|(CONFIGURATION|CREDENTIALS)_DIRECTORY|LC_\w+|LANGUAGE"
)

# A deadline would be a timed assertion; the blob makes a failure seen elsewhere repeatable here.
hypothesis.settings.register_profile("house", deadline=None, print_blob=True)
hypothesis.settings.load_profile("house")


def pytest_sessionstart(session: pytest.Session) -> None:
    if os.geteuid() == 0 and SYSTEM_STATE.exists():
        pytest.exit(f"{SYSTEM_STATE} is there: root's tests would add to the history in it", 2)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="count a skipped test as failed")
    parser.addoption("--full", action="store_true", help="fault tests: as often as published")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors, since some tests wait most of the time."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that wait come first: begun last, one of them would keep all other workers idle."""
    items.sort(key=lambda item: item.get_closest_marker("waits") is None)


def pytest_collection_finish() -> None:
    """What was imported and collected stays: the collector need not look through it again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Import the tests in another order in each worker, so that each compiles a part of them: in
    the same order, all would compile all. What cannot be imported is told by the collection."""
    here = getattr(session.config, "workerinput", None)
    if here is None or session.config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return
    files = sorted(Path(__file__).parent.rglob("test_*.py"))
    first = int(here["workerid"].removeprefix("gw")) * len(files) // here["workercount"]
    for file in files[first:] + files[:first]:
        with suppress(Exception, pytest.skip.Exception):
            import_module(".".join(file.relative_to(session.config.rootpath).with_suffix("").parts))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and item.config.getoption("--no-skips") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.longrepr = f"skipped where nothing may be skipped: {reason}"
    return report


@pytest.fixture(autouse=True)
def clean_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """An empty home, UTC, the C locale, the program on the path, and none of the caller's
    settings."""
    for name in [name for name in os.environ if _FOREIGN.fullmatch(name)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("LANG", "C.UTF-8")
    # The program is on it for whoever has activated the environment.
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable), prepend=os.pathsep)
    with monkeypatch.context() as zone:
        zone.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture(autouse=True)
def _close_stores() -> Iterator[None]:
    """What a test leaves open would be a warning in another one."""
    yield
    close_all()


@pytest.fixture
def fast_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is such a file system: for what is decided or written, many
    times over, not for how it lasts. No other program's writing is waited for there."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)
