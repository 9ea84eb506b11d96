"""What every store has of a name that is asked about: entries, files, rows, and their times."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from narration_cleanup.core.model import FileRole, Found, FoundRequest, RequestStatus
from narration_cleanup.plan import CachePolicy, RequestPolicy, plan_cache, plan_requests
from narration_cleanup.stores.requests.mapping import Columns, RequestMapping
from tests.stores.contract.caches import NOW, BucketCache, Cache
from tests.stores.contract.tables import SERVICE_TABLE, Table, insert
from tests.stores.contract.test_cache_store import cache, opened
from tests.stores.contract.test_requests import MAPPING, OLD, row

__all__ = ["cache"]


def find(cache: Cache, *spellings: str) -> Found:
    """What there is of a name, after a plan has been made."""
    with opened(cache) as store, store.survey() as survey:
        plan_cache(survey, CachePolicy(), NOW)
        return survey.find(spellings)


def file_of(cache: Cache, name: str) -> str:
    """The file of an entry that a test has put there."""
    with opened(cache) as store, store.survey() as survey:
        entries = [entry for batch in survey.batches() for entry in batch.entries]
    (found,) = (entry.file for entry in entries if name in entry.file)
    return found


def test_an_entry_is_found_by_its_key_and_by_its_file(cache: Cache) -> None:
    cache.put("apple", 3)
    cache.put("apple2", 4)
    before = cache.state()
    file = file_of(cache, "apple.")
    for spelling in (file, f"./{file}"):
        (found,) = find(cache, spelling).sightings
        assert found.file == file
        assert found.entry is not None
        assert found.unjudged is None
        assert {"mtime", "last_modified"} & {each.name for each in found.times}
    assert find(cache, found.key or "").sightings[0].file == file
    assert find(cache, "app", "appl.mp3", "/", ".", "..", "//x.mp3").sightings == ()
    assert cache.state() == before


def test_what_no_rule_is_about_is_found_too(cache: Cache) -> None:
    cache.put("apple", 3)
    cache.leave("notes.xyz")
    cache.leave("left.mp3.part")
    (notes,) = find(cache, "notes.xyz").sightings
    assert (notes.key, notes.role) == (None, FileRole.OTHER)
    assert notes.unjudged is not None
    (partial,) = find(cache, "left.mp3.part").sightings
    assert (partial.key, partial.role, partial.unjudged) == (None, FileRole.PARTIAL, None)
    assert find(cache, "nothing.mp3", "nothing").sightings == ()


@pytest.mark.s3
def test_a_bucket_is_named_by_its_address(request: pytest.FixtureRequest) -> None:
    bucket = BucketCache(request.getfixturevalue("s3"))
    bucket.put("apple", 3)
    with opened(bucket) as store:
        location = store.location
    (found,) = find(bucket, f"{location}/apple.mp3").sightings
    assert found.entry is not None
    assert found.entry.created_at == NOW - 3 * 86_400


@pytest.mark.s3
def test_a_bucket_without_an_index(request: pytest.FixtureRequest) -> None:
    import obstore

    from narration_cleanup.stores.cache.s3 import PlainBucket

    server = request.getfixturevalue("s3")
    url = server.new_url()
    for name in ("b/0123456789ab.mp3", "b/0123456789ab.json", "b/x.mp3.part", "b/notes.xyz"):
        obstore.put(server.store(url), name, b"x")
    store = PlainBucket(url, audio_suffixes=(".mp3",), remove_sidecars=True)
    with store.survey() as survey:
        plan_cache(survey, CachePolicy(), NOW)
        for spelling in ("b/0123456789ab.mp3", f"{url}/b/0123456789ab.mp3"):
            (audio,) = survey.find([spelling]).sightings
            assert audio.entry is not None
            assert audio.entry.sidecars == ("b/0123456789ab.json",)
            assert [each.name for each in audio.times] == ["last_modified"]
        sidecar, audio = survey.find(["b/0123456789ab.json"]).sightings
        assert (sidecar.role, sidecar.goes_with) == (FileRole.SIDECAR, audio.file)
        (partial,) = survey.find(["b/x.mp3.part"]).sightings
        assert (partial.role, partial.unjudged) == (FileRole.PARTIAL, None)
        (notes,) = survey.find(["b/notes.xyz"]).sightings
        assert (notes.role, notes.unjudged is None) == (FileRole.OTHER, False)
        assert survey.find(["b/none.mp3", "/", "..", "b//x"]).sightings == ()


def rows_of(table: Table, identity: str, mapping: RequestMapping = MAPPING) -> list[FoundRequest]:
    survey = table.open(mapping).survey()
    plan_requests(survey, RequestPolicy(), NOW)
    return list(survey.find(identity))


def by_name(found: Iterable[FoundRequest]) -> dict[str, str | None]:
    (one,) = found
    return {each.name: each.written for each in one.times}


def test_a_row_is_found_by_its_id_whatever_its_status(table: Table) -> None:
    table.execute(SERVICE_TABLE)
    insert(
        table,
        [
            row("a", "queued"),
            row("b", "completed", completed=OLD),
            row("c", "lost"),
            row("d", "generating", created="soon"),
            row("e", "failed"),
        ],
    )
    before = table.rows()
    (waits,) = rows_of(table, "a")
    assert (waits.id, waits.status, waits.unjudged) == ("a", "queued", None)
    assert waits.request is not None
    assert by_name([waits]) == {"created_at": OLD}
    assert (waits.times[0].instant, waits.times[0].known_by) == (NOW - 7_200, "setting")
    (ended,) = rows_of(table, "b")
    assert ended.request is not None
    assert ended.request.status is RequestStatus.COMPLETED
    assert by_name([ended]) == {"created_at": OLD, "completed_at": OLD}
    why = {name: rows_of(table, name)[0].unjudged or "" for name in "cd"}
    assert "no setting names its status" in why["c"]
    assert "cannot be read as a time (soon)" in why["d"]
    assert rows_of(table, "e")[0].unjudged is None  # it counts from its other times
    for name in ("A", "", "a' OR '1'='1", "7", "\udcff", "%"):
        assert rows_of(table, name) == []
    assert table.rows() == before


def test_a_number_is_an_id_where_the_column_has_numbers(table: Table) -> None:
    table.execute("CREATE TABLE requests (request_id BIGINT, status TEXT, created_at TEXT)")
    insert(table, [(7, "queued", OLD), (8, "queued", OLD)])
    (found,) = rows_of(table, "7")
    assert found.id == 7
    for name in ("seven", "7.5", "99999999999999999999"):
        assert rows_of(table, name) == []


def test_a_row_of_another_service_is_said_to_be_one(table: Table) -> None:
    table.execute(
        "CREATE TABLE requests (request_id TEXT, status TEXT, created_at TEXT, kind TEXT)"
    )
    insert(table, [("a", "queued", OLD, "speech"), ("b", "queued", OLD, "mail")])
    mapping = RequestMapping(timezone="UTC", filter={"kind": ["speech"]}, columns=Columns())
    assert rows_of(table, "a", mapping)[0].unjudged is None
    (other,) = rows_of(table, "b", mapping)
    assert (other.request, other.unjudged) == (None, "requests.filter leaves it out")


def test_a_time_before_2000_is_reported_once_however_often_it_is_asked_for(table: Table) -> None:
    table.execute(
        "CREATE TABLE requests (request_id TEXT, status TEXT, created_at TEXT, beat TEXT)"
    )
    insert(table, [("a", "generating", OLD, "1970-01-01T00:00:00")])
    mapping = RequestMapping(timezone="UTC", columns=Columns(heartbeat_at="beat"))
    survey = table.open(mapping).survey()
    plan_requests(survey, RequestPolicy(), NOW)
    for _ in range(3):
        (found,) = survey.find("a")
        assert "before 2000" in (found.unjudged or "")
    (problem,) = (each for each in survey.problems if each.code == "unset_time")
    assert "1 active row" in problem.message
