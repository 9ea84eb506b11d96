"""The benchmark's own code, at a size where nothing is measured but everything is run."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import suites, tables, trees
from benchmarks.filesystem import Ground, fresh, template
from benchmarks.measure import BenchmarkError, Command, Sample, Spread, Summary, alternate, timed
from benchmarks.plot import svg
from benchmarks.programs import Start, Tool, build_floor, floor
from benchmarks.report import (
    BEGIN,
    END,
    MB,
    NOTHING,
    Aim,
    Report,
    Section,
    aims_of,
    as_json,
    as_markdown,
    read_report,
    replaced,
    report_of,
)

SIZE = 200
DATE = "2026-11-27T16:00:19+00:00"


def section(
    name: str, size: int, results: Mapping[str, tuple[float, float]], measured_at: str = DATE
) -> Section:
    """A section of one run of each contender: its time (s) and its peak (MB)."""
    found = {}
    for contender, (seconds, peak) in results.items():
        one = Spread(seconds, seconds, seconds)
        found[contender] = Summary(one, one, None, 0.0, int(peak * MB), 1)
    return Section(name, name, size, found, None, [], measured_at)


def aims(*sections: Section) -> list[Aim]:
    """The aims that a report of these sections says something about."""
    return aims_of(Report("", "", "", list(sections)))


def bench(folder: Path, tool: Tool) -> suites.Bench:
    """One run of each contender, at most at 300, where ``folder`` is."""
    ground = Ground(folder, loop=False, note="")
    return suites.Bench([tool], None, ground, 300, 1, time.time(), lambda line: None)


def test_index_is_in_the_services_own_form(tmp_path: Path) -> None:
    tree = trees.make_tree(tmp_path, SIZE, time.time())

    text = (tmp_path / trees.INDEX).read_text()
    entries = json.loads(text)
    assert json.dumps(entries, indent=2) == text
    assert len(entries) == SIZE
    assert tree.expired == SIZE // trees.EXPIRED_SHARE
    assert {name.stem for name in (tmp_path / trees.CACHE).glob("*.mp3")} == set(entries)


def test_forms_of_an_index_hold_the_same_entries(tmp_path: Path) -> None:
    forms = {name: tmp_path / name for name in trees.FORMS}
    trees.make_tree(tmp_path, SIZE, time.time(), forms)

    entries = json.loads(forms[trees.PLAIN].read_bytes())
    text = {name: path.read_bytes().decode() for name, path in forms.items()}
    assert text["in one line"] == json.dumps(entries)
    assert text["indent of 4"] == json.dumps(entries, indent=4)
    assert text["CRLF"] == json.dumps(entries, indent=2).replace("\n", "\r\n")
    assert 0 < text["1 % with NaN"].count("NaN") <= SIZE // trees.ODD_SHARE
    assert len(json.loads(text["1 % with a new field"])) == SIZE


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_floor_does_the_work_that_it_is_timed_for(tmp_path: Path) -> None:
    program = build_floor(tmp_path)
    tree = trees.make_tree(tmp_path, SIZE, time.time())
    with pytest.raises(BenchmarkError):
        trees.check_cleaned(tmp_path, tree, trees.PLAIN)

    assert program is not None
    sample = timed(floor(program, tmp_path))

    trees.check_cleaned(tmp_path, tree, trees.PLAIN)
    assert len(json.loads((tmp_path / trees.INDEX).read_text())) == SIZE - tree.expired
    assert sample.peak > 0
    assert sample.written > 0


@pytest.mark.parametrize("remove", ["oldest", "youngest"])
def test_a_directory_is_clean_where_the_expired_files_are_gone_and_no_other(
    tmp_path: Path, remove: str
) -> None:
    tree = trees.make_tree(tmp_path, SIZE, time.time(), {})
    files = sorted((tmp_path / trees.CACHE).iterdir(), key=lambda file: file.stat().st_mtime)
    for file in files[: tree.expired] if remove == "oldest" else files[-tree.expired :]:
        file.unlink()
    with nullcontext() if remove == "oldest" else pytest.raises(BenchmarkError, match="20 of 20"):
        trees.check_cleaned(tmp_path, tree)


@pytest.mark.parametrize("wrong", ["", "orphan", "dangling", "expired"])
def test_a_mismatched_cache_is_clean_where_only_what_is_expired_is_gone(
    tmp_path: Path, wrong: str
) -> None:
    now = time.time()
    tree = trees.make_tree(tmp_path, 267, now, mismatched=True)  # The 267th would be an orphan.
    entries = json.loads((tmp_path / trees.INDEX).read_bytes())
    files = {file.stem: file for file in (tmp_path / trees.CACHE).glob("*.mp3")}
    orphans, dangling = files.keys() - entries.keys(), entries.keys() - files.keys()
    assert 0 < len(orphans) <= 2
    assert 0 < len(dangling) <= 3
    assert tree.files == len(files) == 267 - len(dangling)

    old = {key for key, file in files.items() if file.stat().st_mtime < now - 7 * trees.DAY}
    assert len(old) == tree.expired
    assert not old & orphans
    for key in old | ({orphans.pop()} if wrong == "orphan" else set()):
        if wrong != "expired" or key != min(old):
            files[key].unlink()
    gone = old | ({dangling.pop()} if wrong == "dangling" else set())
    left = {key: entry for key, entry in entries.items() if key not in gone}
    (tmp_path / trees.INDEX).write_text(json.dumps(left, indent=2))
    with nullcontext() if not wrong else pytest.raises(BenchmarkError):
        trees.check_cleaned(tmp_path, tree, trees.PLAIN)


@pytest.mark.waits
def test_forms_mismatched_caches_and_requests_are_measured_at_several_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suites, "SIZES", (60, SIZE))
    monkeypatch.setattr(suites, "SERVICE_LIMIT", SIZE)
    asked = bench(tmp_path, Tool("run", sys.executable))

    forms = suites.in_forms(asked)
    assert [(one.size, set(one.results)) for one in forms] == [
        (SIZE, set(trees.FORMS)),
        (300, set(trees.FORMS)),
    ]
    found = suites.mismatched(asked)
    assert [(one.size, set(one.results)) for one in found] == [
        (SIZE, {"run", suites.CLEAN}),
        (300, {"run", suites.CLEAN}),
    ]
    assert {one.measured_at for one in forms + found} == {forms[0].measured_at}
    if shutil.which("sqlite3"):
        requests = suites.beside_writer(asked)
        names = [(one.name, one.size) for one in requests]
        assert names == [
            (f"requests-{mode}", size) for mode in ("wal", "delete") for size in (SIZE, 300)
        ]
        for one in requests:
            run, nothing = one.median("run"), one.median(NOTHING)
            assert run is not None
            assert nothing is not None
            assert nothing >= run - 0.001


def test_sizes_end_with_the_one_that_is_asked_for(tmp_path: Path) -> None:
    asked = bench(tmp_path, Tool("run", sys.executable))
    assert asked.sizes() == [60, 300]
    assert asked.sizes(20_000) == [300]
    million = replace(asked, size=1_000_000)
    assert million.sizes(20_000) == [20_000, 100_000, 1_000_000]


@pytest.mark.waits
def test_a_tool_that_drops_entries_without_a_file_is_no_measurement(tmp_path: Path) -> None:
    class Dropping(Tool):
        def on_index(self, *arguments: str, **settings: str) -> Start:
            return super().on_index(*arguments, **{**settings, "cache_remove_dangling": "true"})

    with pytest.raises(BenchmarkError, match="the index is not the one"):
        suites.mismatched(bench(tmp_path, Dropping("run", sys.executable)))


def test_copies_leave_the_template_as_it_was(tmp_path: Path) -> None:
    ground = Ground(tmp_path, loop=False, note="")
    with template(ground, "tree", size=0, files=SIZE) as (source, root):
        tree = trees.make_tree(root, SIZE, time.time(), {})
    with fresh(source) as copy:
        shutil.rmtree(copy / trees.CACHE)
    with fresh(source) as copy:
        assert len(list((copy / trees.CACHE).iterdir())) == tree.files


def test_table_has_its_abandoned_rows_until_they_are_cancelled(tmp_path: Path) -> None:
    table = tables.make_table(tmp_path, SIZE, time.time(), "wal")
    assert table.abandoned == 2
    with pytest.raises(BenchmarkError):
        tables.check_cancelled(tmp_path, table)


@pytest.mark.parametrize(
    ("statement", "wrong"),
    [
        ("UPDATE requests SET status = 'cancelled' WHERE {abandoned}", None),
        ("UPDATE requests SET status = 'cancelled'", r"1\d\d more are cancelled"),
        ("DELETE FROM requests WHERE {abandoned}", "there are 198"),
        ("UPDATE requests SET status = 'failed' WHERE {abandoned}", "0 more are cancelled"),
    ],
)
def test_exactly_the_abandoned_rows_are_to_be_cancelled(
    tmp_path: Path, statement: str, wrong: str | None
) -> None:
    table = tables.make_table(tmp_path, SIZE, time.time(), "delete")
    with closing(sqlite3.connect(tmp_path / tables.DATABASE)) as database, database:
        database.execute(statement.format(abandoned="status IN ('queued', 'generating')"))
    with nullcontext() if wrong is None else pytest.raises(BenchmarkError, match=wrong):
        tables.check_cancelled(tmp_path, table)


def test_a_command_that_fails_is_no_measurement() -> None:
    with pytest.raises(BenchmarkError, match="ended with 3"):
        timed(Command((sys.executable, "-c", "raise SystemExit(3)")))
    sample = timed(Command((sys.executable, "-c", "sum(range(1_000_000))")))
    assert sample.cpu > 0
    assert sample.seconds > 0


def test_trials_alternate_and_those_with_fewer_runs_are_spread() -> None:
    order: list[str] = []

    def note(name: str) -> Sample:
        order.append(name)
        return Sample(1.0, 1.0, 0, 0)

    found = alternate({"a": (4, lambda: note("a")), "b": (2, lambda: note("b"))})

    assert order == ["a", "a", "b", "a", "a", "b"] or order == ["a", "b", "a", "a", "b", "a"]
    assert {name: summary.runs for name, summary in found.items()} == {"a": 4, "b": 2}


def test_aims_know_when_they_are_reached() -> None:
    assert Aim("", "", 1.0, "", 1.0).reached
    assert not Aim("", "", 1.1, "", 1.0).reached
    assert Aim("", "", 101, "", 100, at_least=True).reached
    assert Aim("", "", None, "", 1.0).reached is None


def test_a_command_that_removes_nothing_is_allowed_no_memory_for_it() -> None:
    """Both took 80 MB at a million: a run that removes 100,000 may, a look may not."""
    found = {}
    for name in ("run", "dry-run", "stats"):
        aim = aims(section("index", 1_000_000, {name: (1.0, 80)}))[-1]
        found[name] = (round(aim.limit), aim.reached)
    assert found == {"run": (97, True), "dry-run": (67, False), "stats": (67, False)}


def test_of_memory_the_worst_that_removes_and_the_worst_that_looks_are_shown() -> None:
    """Each is the one that comes closest to what it is allowed; an earlier version is left out."""
    found = aims(
        section("index", 1_000_000, {"run": (1.0, 80), "run 0.1.0": (1.0, 500)}),
        section("forms", 100_000, {trees.PLAIN: (1.0, 60), "indent of 4": (1.0, 69)}),
        section("index-looking", 1_000_000, {"stats": (1.0, 85), "dry-run": (1.0, 84)}),
    )[-2:]
    rows = [(aim.what, aim.measured, aim.reached, aim.headline) for aim in found]
    assert rows == [
        (
            "peak memory of commands that remove, the worst: `indent of 4`, forms, 100,000",
            69.0,
            True,
            False,
        ),
        (
            "peak memory of commands that only look, the worst: `stats`, index-looking, 1,000,000",
            85.0,
            False,
            True,
        ),
    ]


def test_of_a_form_the_worst_of_all_sizes_counts() -> None:
    plain, name = (1.0, 50), "CRLF"
    found = aims(
        section("forms", 20_000, {trees.PLAIN: plain, name: (1.2, 60)}),
        section("forms", 100_000, {trees.PLAIN: plain, name: (1.6, 52)}),
        section("forms", 1_000_000, {trees.PLAIN: plain, name: (1.4, 51)}),
    )
    rows = [(aim.what, aim.measured, aim.reached) for aim in found if name in aim.what]
    assert rows[:2] == [
        ("`run`, index CRLF, up to 1,000,000, worst at 100,000", 1.6, False),
        ("`run`, index CRLF, up to 1,000,000, worst at 20,000", 1.2, False),
    ]


@pytest.mark.parametrize(
    ("seconds", "measured_at", "reached"),
    [(10.9, DATE, True), (11.1, DATE, False), (10.9, "2026-11-28T09:00:00+00:00", None)],
)
def test_growth_is_between_sizes_that_were_measured_together(
    seconds: float, measured_at: str, reached: bool | None
) -> None:
    for suite, name in (("forms", "in one line"), ("forms", "1 % with NaN"), ("index", "run")):
        found = aims(
            section(suite, 1_000, {name: (0.5, 50)}, measured_at),
            section(suite, 20_000, {name: (0.9, 50)}),
            section(suite, 100_000, {name: (1.0, 50)}),
            section(suite, 1_000_000, {name: (seconds, 50)}, measured_at),
        )
        rows = [aim.reached for aim in found if aim.aim.startswith("ten times")]
        assert rows == ([] if reached is None else [reached])
        small = [aim.measured for aim in found if aim.aim.endswith("`run` on 1,000")]
        assert small == ([2.0] if suite == "index" and measured_at == DATE else [])


def test_what_is_kept_of_an_earlier_report_keeps_its_date(tmp_path: Path) -> None:
    earlier, later = "2026-11-20T12:00:00+00:00", "2026-11-27T12:00:00+00:00"
    file = tmp_path / "results.json"
    run = {"run": (1.0, 50.0)}
    before = [section("index", size, run, earlier) for size in (1_000, 10_000, 100_000)]
    file.write_bytes(as_json(Report("", "", "", [*before, section("startup", 60, {}, earlier)])))

    anew = [section("index", size, run, later) for size in (10_000, 20_000)]
    report = report_of("ext4", anew, file)

    assert [(one.name, one.size, one.measured_at) for one in report.sections] == [
        ("index", 1_000, earlier),
        ("index", 10_000, later),
        ("index", 20_000, later),
        ("index", 100_000, earlier),
        ("startup", 60, earlier),
    ]
    text = as_markdown(report)
    assert text.startswith("Measured 2026-11-20 to 2026-11-27, the last on Linux ")
    tables = text.split("### ")[1:]
    dates = [table.rsplit("measured ", 1)[1].strip() for table in tables]
    assert dates == [f"2026-11-{day}." for day in (20, 27, 27, 20, 20)]
    assert as_markdown(report_of("", [before[0]], None)).startswith("Measured 2026-11-20, ")


def test_a_measurement_is_written_between_the_marks_of_a_document(tmp_path: Path) -> None:
    document = tmp_path / "RESULTS.md"
    assert replaced(document, "new\n") == "new\n"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert replaced(document, "new\n") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"


def test_plots_hold_every_series() -> None:
    series = {"run": [(1000.0, 0.2), (1_000_000.0, 9.0)], "<find>": [(1000.0, 0.1)]}
    drawing = svg([("Time", "seconds", series)])
    assert drawing.count("<circle") == 3
    assert "&lt;find&gt;" in drawing


@pytest.mark.waits
def test_command_measures_and_keeps_what_it_does_not_measure_anew(tmp_path: Path) -> None:
    written = tmp_path / "results.json"
    for name in ("index", "directory"):
        done = subprocess.run(
            [
                *(sys.executable, "-m", "benchmarks", "--size", str(SIZE), "--runs", "1"),
                *("--only", name, "--no-mount", "--work", str(tmp_path), "--json", str(written)),
            ],
            cwd=Path(trees.__file__).parent.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    report = read_report(written.read_bytes())
    assert {one.name for one in report.sections} >= {"index", "directory"}
    largest = report.section("index")
    assert largest is not None
    assert largest.size == SIZE
    assert largest.results["run"].runs == 1
    assert largest.results["run"].cpu.median > 0
    assert "| what | aim | measured | reached |" in done.stdout
