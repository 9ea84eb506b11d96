"""An index in another program's form: other names, entries one level down, times in digits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narration_cleanup.apply.apply import apply_cache
from narration_cleanup.core.errors import IndexChangedError, IndexFormatError
from narration_cleanup.core.model import NoProgress, Ref
from narration_cleanup.core.signals import Stop
from narration_cleanup.core.zones import IndexTimes
from narration_cleanup.plan import CachePlan, CachePolicy, plan_cache
from narration_cleanup.stores.cache import index
from narration_cleanup.stores.cache.index import OtherFormError, UnreadableIndexError
from narration_cleanup.stores.cache.local import index_commit, scan
from narration_cleanup.stores.cache.local.indexed import IndexedDirectory
from narration_cleanup.stores.cache.members import (
    OWN_FORM,
    IndexForm,
    IndexMember,
    MalformedEntry,
    time_text,
)
from narration_cleanup.stores.cache.rewrite import without
from tests.run_at import arrival_before
from tests.samples import SAMPLE_NOW, CacheSample, EntrySpec, make_cache, read_index
from tests.stores.cache.test_index import FORMS, JSON, TEXTS, reader

NOW = SAMPLE_NOW.timestamp()
MAPPED = IndexForm(
    file_path="file_name", created_at="@key", last_accessed=None, file_size=None,
    variant_id=None, voice_style="speaker",
)  # fmt: skip
NESTED = IndexForm(member="entries")
BOTH = MAPPED._replace(member="entries")
ENTRIES = st.dictionaries(
    TEXTS,
    st.builds(lambda name: {"file_name": name, "speaker": "s"}, TEXTS) | JSON,
    max_size=9,
)
OTHERS = st.dictionaries(TEXTS.filter(lambda name: name != "entries"), JSON, max_size=3)


def refs_of(raw: bytes, form: IndexForm) -> list[Ref]:
    return [
        batch.ref(position)
        for batch in index.members(reader(raw), len(raw), form)
        for position in range(len(batch.keys))
    ]


@given(ENTRIES, OTHERS, OTHERS, FORMS, st.booleans(), st.data(), st.integers(16, 400))
def test_all_but_the_dropped_members_stays_byte_for_byte(
    entries: dict[str, object],
    before: dict[str, object],
    behind: dict[str, object],
    written: dict[str, object],
    nested: bool,
    data: st.DataObject,
    chunk: int,
) -> None:
    form = BOTH if nested else MAPPED

    def document(of: Mapping[str, object]) -> object:
        return {**before, "entries": of, **behind} if nested else of

    def text(of: Mapping[str, object]) -> str:
        return json.dumps(document(of), **written)  # type: ignore[arg-type]

    raw = text(entries).encode()
    unwanted = data.draw(st.sets(st.integers(0, max(len(entries) - 1, 0)))) if entries else set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "CHUNK", chunk)
        refs = refs_of(raw, form)
        assert len(refs) == len(entries)
        spans = [ref for number, ref in enumerate(refs) if number in unwanted]
        left = b"".join(without(reader(raw), len(raw), spans, refs[-1][1] if refs else 0))
        stays = [ref for number, ref in enumerate(refs) if number not in unwanted]
        assert [ref[2] for ref in refs_of(left, form)] == [ref[2] for ref in stays]
    kept = {key: value for n, (key, value) in enumerate(entries.items()) if n not in unwanted}
    assert json.dumps(json.loads(left)) == json.dumps(document(kept))
    if spans:
        assert left.startswith(raw[: spans[0][0]].rstrip(b", \n\t"))
        assert left.endswith(raw[max(spans[-1][1], refs[-1][1]) :].lstrip())
    else:
        assert left == raw
    if written == {"indent": 2}:
        assert left.decode() == text(kept)


def values_of(raw: bytes, form: IndexForm) -> list[IndexMember | MalformedEntry]:
    return [v for batch in index.members(reader(raw), len(raw), form) for v in batch.values]


def test_the_fields_that_are_needed_are_read_by_the_names_that_are_set() -> None:
    raw = b'{"20261120101500": {"text": "t", "speaker": "s", "file_name": "./output/a.wav"}}'
    (value,) = values_of(raw, MAPPED)
    assert isinstance(value, IndexMember)
    assert (value.file_path, value.created_at) == ("./output/a.wav", "2026-11-20T10:15:00")
    assert (value.voice_style, value.variant_id, value.last_accessed) == ("s", "", "")
    (value,) = values_of(raw, OWN_FORM)
    assert isinstance(value, MalformedEntry)


def test_the_path_of_a_member_that_is_not_understood_is_known_all_the_same() -> None:
    form = IndexForm(file_path="where", created_at="when")
    raw = b'{"a": {"where": "a.mp3"}, "b": {"where": "b.mp3", "when": NaN}, "c": {"when": "x"}}'
    values = values_of(raw, form)
    assert [value.file_path for value in values] == ["a.mp3", "b.mp3", None]
    whys = [value.why for value in values if isinstance(value, MalformedEntry)]
    assert whys[0] == "its when is missing, or neither text nor number"
    assert whys[1] == "NaN is not JSON"
    assert whys[2] == "its where is missing or not text"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("1795392000", "2026-11-23T00:00:00+00:00"),
        ("1795392000.5", "2026-11-23T00:00:00.500000+00:00"),
        ("1795392000000", "2026-11-23T00:00:00+00:00"),
        ("1795392000000000000", "2026-11-23T00:00:00+00:00"),
        ("20261123000000", "2026-11-23T00:00:00"),
        ("2026-11-23T00:00:00", "2026-11-23T00:00:00"),
        ("20261123", "20261123"),
        ("0", "0"),
        ("200000000000", "200000000000"),
        ("1" * 30, "1" * 30),
        ("", ""),
    ],
)
def test_a_time_in_digits_is_an_instant_or_a_clocks_reading(written: str, read: str) -> None:
    assert time_text(written) == read
    assert time_text(read) == read


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "it is empty"),
        (b'{"entries": {"a": {}', "not whole JSON"),
        (b'{"entries": {}, "x": [1,,2]}', "not whole JSON"),
        (b'{"entries": {}} x', "not whole JSON"),
        (b'{"entries": {"a": 1}, "entries": {}}', "twice"),
        (b'{"entries": {}, "entries": {}}', "twice"),
        (b'{"entries": "\xff"}', "not whole JSON"),
        (b"{}", "no member 'entries' that is an object"),
        (b'{"entries": []}', "no member 'entries' that is an object"),
        (b"[]", "it is a JSON list"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
    ],
)
def test_an_index_without_its_member_is_refused_with_the_reason(raw: bytes, why: str) -> None:
    with pytest.raises(UnreadableIndexError, match=why):
        refs_of(raw, NESTED)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b'[{"file_path": "a.mp3"}]', "it is a JSON list"),
        (b"\xef\xbb\xbf{}", "byte order mark, which JSON does not allow: save it as UTF-8 without"),
        (b'{"key": "a", "file_path": "a.mp3"}\n{"key": "b", "file_path": "b.mp3"}\n', "JSON Lines"),
        (b'{"a": {"file_path": "a.mp3"}}\n{"b": {"file_path": "b.mp3"}}\n', "JSON Lines"),
    ],
)
def test_a_whole_index_of_another_form_is_called_by_its_form(raw: bytes, why: str) -> None:
    with pytest.raises(OtherFormError, match=why):
        refs_of(raw, OWN_FORM)


@pytest.fixture(autouse=True)
def _arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "stored_file", arrival_before(NOW))


@pytest.fixture
def sample(tmp_path: Path) -> CacheSample:
    """Three expired entries and two that are not, in an index of the form ``BOTH``."""
    specs = [EntrySpec(timedelta(days=days), size=100) for days in (30, 20, 10, 2, 1)]
    made = make_cache(tmp_path / "output", entries=specs)
    write(made, {stamp(n): body(made, n) for n in range(5)})
    return made


def stamp(number: int) -> str:
    days = (30, 20, 10, 2, 1)[number]
    return f"{SAMPLE_NOW - timedelta(days=days):%Y%m%d%H%M%S}"


def body(sample: CacheSample, number: int) -> dict[str, object]:
    return {
        "text": "private",
        "speaker": "s",
        "file_name": f"./output/{sample.entries[number].name}",
    }


def write(sample: CacheSample, entries: Mapping[str, object]) -> None:
    sample.index.write_text(json.dumps({"version": 2, "entries": entries, "x": [None]}))


def entries_in(sample: CacheSample) -> dict[str, object]:
    document: dict[str, object] = dict(read_index(sample.index))
    found = document.pop("entries")
    assert document == {"version": 2, "x": [None]}
    assert isinstance(found, dict)
    return found


@contextmanager
def opened(sample: CacheSample, form: IndexForm = BOTH) -> Iterator[IndexedDirectory]:
    store = IndexedDirectory(
        sample.directory,
        index_name="cache_index.json",
        audio_suffixes=(".mp3",),
        times=IndexTimes("UTC"),
        form=form,
    )
    with closing(store):
        yield store


def plan(store: IndexedDirectory) -> CachePlan:
    with store.survey() as survey:
        return plan_cache(survey, CachePolicy(orphan_ttl=7 * 86_400.0), NOW)


def audio(sample: CacheSample) -> set[str]:
    return {path.name for path in sample.directory.glob("*.mp3")}


@pytest.mark.parametrize("held", [10, 1 << 20])
def test_exactly_the_expired_go_with_the_size_of_their_files(
    sample: CacheSample, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    """Also of an index that is too large to be held, and read in passes over one version."""
    monkeypatch.setattr("narration_cleanup.stores.cache.local.index_file.HELD_WHOLE", held)
    with opened(sample) as store:
        planned = plan(store)
        assert planned.planned_bytes == 300
        assert planned.totals.total_size_bytes == planned.stored_bytes == 500
        result = apply_cache(planned, store, Stop(), NoProgress())
        assert result.freed_bytes == 300
        assert store.unchanged_since([])
        assert not plan(store).actions
    assert entries_in(sample) == {stamp(n): body(sample, n) for n in (3, 4)}
    assert audio(sample) == {sample.entries[n].name for n in (3, 4)}


@pytest.mark.parametrize("scale", [1, 1_000, 1_000_000_000])
@pytest.mark.parametrize("as_text", [False, True])
def test_epochs_in_our_own_form_are_times(tmp_path: Path, scale: int, as_text: bool) -> None:
    specs = [EntrySpec(timedelta(days=days), size=100) for days in (30, 8, 6, 1)]
    made = make_cache(tmp_path / "narration", entries=specs)
    entries: dict[str, dict[str, object]] = {}
    for entry in made.entries:
        at = int(entry.created_at.timestamp()) * scale
        times = dict.fromkeys(("created_at", "last_accessed"), str(at) if as_text else at)
        entries[entry.key] = {**entry.fields, **times}
    made.index.write_text(json.dumps(entries, indent=2))
    with opened(made, OWN_FORM) as store:
        planned = plan(store)
        assert list(planned.problems) == []
        apply_cache(planned, store, Stop(), NoProgress())
    stays = [entry.key for entry in made.entries[2:]]
    assert made.index.read_text() == json.dumps({k: entries[k] for k in stays}, indent=2)


def test_what_cannot_be_judged_stays_with_its_file(sample: CacheSample) -> None:
    """A key that occurs twice, a member without a path, one whose time is none."""
    no_time = {"soon": body(sample, 1)}
    whole = {stamp(n): body(sample, n) for n in range(5) if n != 1} | {"pathless": {"text": 3}}
    write(sample, whole | no_time)
    twice = json.dumps({stamp(0): body(sample, 0)})[1:-1]
    text = sample.index.read_text().replace('"pathless"', f'{twice}, "pathless"')
    sample.index.write_text(text)
    with opened(sample) as store:
        planned = plan(store)
        codes = {problem.code for problem in planned.problems}
        assert codes == {"malformed_entry", "unreadable_time"}
        apply_cache(planned, store, Stop(), NoProgress())
    assert audio(sample) == {sample.entries[n].name for n in (0, 1, 3, 4)}
    assert entries_in(sample).keys() == {stamp(0), stamp(3), stamp(4), "pathless", "soon"}
    assert sample.index.read_text().count(stamp(0)) == 2


@pytest.mark.parametrize("fields", [{}, {"path": "a.mp3"}])
def test_a_changed_form_is_refused(sample: CacheSample, fields: dict[str, str]) -> None:
    write(sample, {stamp(n): fields for n in range(5)})
    with opened(sample) as store, pytest.raises(IndexFormatError, match="5 of 5 members"):
        plan(store)
    sample.index.write_text(json.dumps({"items": {}}))
    with opened(sample) as store, pytest.raises(IndexFormatError, match="no member 'entries'"):
        plan(store)
    assert len(audio(sample)) == 5


def test_a_torn_index_is_never_no_entries(sample: CacheSample) -> None:
    whole = sample.index.read_bytes()
    for cut in range(0, len(whole), 37):
        sample.index.write_bytes(whole[:cut])
        with opened(sample) as store, pytest.raises(IndexChangedError):
            plan(store)
    assert len(audio(sample)) == 5


def test_saves_since_the_survey_are_kept(sample: CacheSample) -> None:
    with opened(sample) as store:
        planned = plan(store)
        more = {stamp(n): body(sample, n) for n in range(5)} | {"20261123115900": body(sample, 4)}
        more[stamp(1)] = body(sample, 1) | {"text": "again"}
        write(sample, more)
        apply_cache(planned, store, Stop(), NoProgress())
    assert entries_in(sample) == {k: v for k, v in more.items() if k not in (stamp(0), stamp(2))}


def test_a_late_writers_save_is_brought_in(
    sample: CacheSample, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_place = index_commit.IndexCommit._put_in_place
    late = {stamp(n): body(sample, n) for n in range(5)} | {"20261123115900": body(sample, 3)}
    writer = sample.index.open("r+")

    def slow(commit: index_commit.IndexCommit) -> object:
        done = put_in_place(commit)
        if not writer.closed:
            writer.truncate(0)
            json.dump({"version": 2, "entries": late, "x": [None]}, writer)
            writer.close()
        return done

    monkeypatch.setattr(index_commit.IndexCommit, "_put_in_place", slow)
    with opened(sample) as store:
        apply_cache(plan(store), store, Stop(), NoProgress())
    assert writer.closed
    gone = {stamp(n) for n in range(3)}
    assert entries_in(sample) == {key: v for key, v in late.items() if key not in gone}
