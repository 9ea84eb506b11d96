"""The benchmark's own code, at a size where nothing is measured but everything is run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import product, tables, trees
from benchmarks.filesystem import Ground, fresh, template
from benchmarks.measure import BenchmarkError, Command, timed
from benchmarks.plot import svg, text_plot
from benchmarks.programs import find_programs, floor
from benchmarks.progress import progress_share
from benchmarks.report import BEGIN, END, Aim, Report, as_json, read_aims, replaced

SIZE = 200


def test_index_is_in_the_services_own_form(tmp_path: Path) -> None:
    tree = trees.make_tree(tmp_path, SIZE, time.time(), index=True)

    text = (tmp_path / trees.INDEX).read_text()
    entries = json.loads(text)
    assert json.dumps(entries, indent=2) == text
    assert len(entries) == SIZE
    assert tree.expired == SIZE // trees.EXPIRED_SHARE
    assert {name.stem for name in (tmp_path / trees.CACHE).glob("*.mp3")} == set(entries)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_floor_does_the_work_that_it_is_timed_for(tmp_path: Path) -> None:
    programs = find_programs(tmp_path)
    tree = trees.make_tree(tmp_path, SIZE, time.time(), index=True)
    with pytest.raises(BenchmarkError):
        trees.check_cleaned(tmp_path, tree)

    assert programs.floor is not None
    sample = timed(programs.launcher, floor(programs.floor, tmp_path))

    trees.check_cleaned(tmp_path, tree)
    assert len(json.loads((tmp_path / trees.INDEX).read_text())) == SIZE - tree.expired
    assert sample.peak > 0


def test_copies_leave_the_template_as_it_was(tmp_path: Path) -> None:
    ground = Ground(tmp_path, loop=False, note="")
    with template(ground, "tree", size=0, files=SIZE) as (source, root):
        tree = trees.make_tree(root, SIZE, time.time(), index=False)
    with fresh(source) as copy:
        shutil.rmtree(copy / trees.CACHE)
    with fresh(source) as copy:
        assert len(list((copy / trees.CACHE).iterdir())) == tree.files


def test_table_has_its_abandoned_rows_until_they_are_cancelled(tmp_path: Path) -> None:
    table = tables.make_table(tmp_path, SIZE, time.time(), "wal")
    assert table.abandoned == 2
    with pytest.raises(BenchmarkError):
        tables.check_cancelled(tmp_path, table)


def test_a_command_that_fails_is_no_measurement(tmp_path: Path) -> None:
    launcher = (sys.executable, "-S", "-E", str(Path(trees.__file__).with_name("timed.py")))
    with pytest.raises(BenchmarkError, match="ended with 3"):
        timed(launcher, Command((sys.executable, "-c", "raise SystemExit(3)")))
    assert timed(launcher, Command((sys.executable, "-c", "pass"))).seconds > 0


def test_aims_know_when_they_are_reached() -> None:
    assert Aim("", "", 1.0, "", 1.0).reached
    assert not Aim("", "", 1.1, "", 1.0).reached
    assert Aim("", "", 101, "", 100, at_least=True).reached
    assert Aim("", "", None, "", 1.0).reached is None


def test_a_measurement_is_written_between_the_marks_of_a_document(tmp_path: Path) -> None:
    document = tmp_path / "RESULTS.md"
    assert replaced(document, "new\n") == "new\n"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert replaced(document, "new\n") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"


def test_aims_are_read_as_they_were_written() -> None:
    aims = [Aim("one", "at most 1", 1.5, "s", 1.0), Aim("two", "", None, "", 2.0, at_least=True)]
    assert read_aims(as_json(Report(1, "", [], [], aims), "2026-11-23")) == aims


def test_progress_is_a_part_of_the_whole(tmp_path: Path) -> None:
    trees.make_tree(tmp_path, SIZE, time.time(), index=True)
    assert 0 < progress_share(product.run_with_everything(tmp_path)) < 1


def test_plots_hold_every_series() -> None:
    series = {"run": [(1000.0, 0.2), (1_000_000.0, 9.0)], "<find>": [(1000.0, 0.1)]}
    assert "x <find>" in text_plot("Time", "seconds", series)
    drawing = svg([("Time", "seconds", series)])
    assert drawing.count("<circle") == 3
    assert "&lt;find&gt;" in drawing


def test_command_measures_and_writes_json(tmp_path: Path) -> None:
    written = tmp_path / "results.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks", "--size", str(SIZE), "--runs", "1"),
            *(
                "--only",
                "index",
                "--only",
                "directory",
                "--no-mount",
                "--work",
                str(tmp_path),
                "--json",
                str(written),
            ),
        ],
        cwd=Path(trees.__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(written.read_text())
    assert [section["name"] for section in document["sections"]] == ["index", "directory"]
    run = document["sections"][0]["results"]["narration-cleanup run"]
    assert run["runs"] == 1
    assert run["median"] > 0
    assert "| what | aim | measured | reached |" in done.stdout
