"""The benchmark's own code, at a size where nothing is measured but everything is run."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, nullcontext
from pathlib import Path

import pytest

from benchmarks import tables, trees
from benchmarks.filesystem import Ground, fresh, template
from benchmarks.measure import BenchmarkError, Command, Sample, Spread, Summary, alternate, timed
from benchmarks.plot import svg
from benchmarks.programs import build_floor, floor
from benchmarks.report import (
    BEGIN,
    END,
    MB,
    Aim,
    Report,
    Section,
    aims_of,
    read_report,
    replaced,
)

SIZE = 200


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
    one = Spread(1.0, 1.0, 1.0)
    summary = Summary(one, one, None, 0.0, 80 * MB, 1)
    found = {}
    for name in ("run", "dry-run", "stats"):
        section = Section("index", "", 1_000_000, {name: summary}, None, [])
        aim = aims_of(Report("", "", "", "", [section]))[-1]
        found[name] = (round(aim.limit), aim.reached)
    assert found == {"run": (97, True), "dry-run": (67, False), "stats": (67, False)}


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
