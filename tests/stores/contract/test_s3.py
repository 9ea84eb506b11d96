"""What only a bucket has: writers of one index, runs at once, bulk requests, a network between."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import obstore
import pytest
from obstore.exceptions import PreconditionError
from obstore.store import S3Store

from narration_cleanup.apply import apply
from narration_cleanup.apply.apply import apply_cache
from narration_cleanup.apply.result import CacheResult
from narration_cleanup.core.errors import ConfigError, IndexFormatError
from narration_cleanup.core.model import NoProgress
from narration_cleanup.core.signals import Stop
from narration_cleanup.core.zones import IndexTimes
from narration_cleanup.plan import CachePlan, CachePolicy, plan_cache
from narration_cleanup.plan.actions import (
    Kind,
    Outcome,
)
from narration_cleanup.stores.cache import CacheStore, FileTarget
from narration_cleanup.stores.cache.members import IndexForm
from narration_cleanup.stores.cache.s3 import IndexedBucket, PlainBucket, indexed
from narration_cleanup.stores.cache.s3.location import S3Location
from tests.proxy import Answer, Do, Instead, OnRequest, Proxy
from tests.run_at import S3_CACHE
from tests.s3_server import SECRET_KEY, Server
from tests.samples import INDEX_NAME, SAMPLE_NOW, audio, make_requests, service_time
from tests.stores.contract.caches import BucketCache
from tests.stores.leftovers import FRESH, KEPT, SIDECARS, USELESS, digest

pytestmark = pytest.mark.s3

ROOT = Path(__file__).resolve().parents[3]
NOW = SAMPLE_NOW.timestamp()
DAY = timedelta(days=1)
STEMS = ("changed", "f/both", "first", "made", "second", "third")
NO_INDEX = {"NARRATION_CACHE_INDEX": "none"}
SLOW_DOWN = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Length: 53\r\nConnection: close\r\n\r\n"
    b"<Error><Code>SlowDown</Code><Message>m</Message></Error"
)


class Bucket:
    """A cache in a bucket, made at once."""

    def __init__(self, server: Server, *, expired: int, young: int) -> None:
        self.url = server.new_url()
        self.store = server.store(self.url)
        ages = [20] * expired + [1] * young
        self.entries = {f"n{number:05}": entry(number, age) for number, age in enumerate(ages)}
        self.expired = [f"n{number:05}.mp3" for number in range(expired)]
        self.young = [f"n{number:05}.mp3" for number in range(expired, expired + young)]
        fill(self.store, {name: audio(n, 100) for n, name in enumerate(self.expired + self.young)})
        obstore.put(self.store, INDEX_NAME, json.dumps(self.entries, indent=2).encode())

    def objects(self) -> set[str]:
        return {m["path"] for page in obstore.list(self.store, chunk_size=1000) for m in page}

    def audio(self) -> list[str]:
        return sorted(name for name in self.objects() if name.endswith(".mp3"))

    def index(self) -> dict[str, Any]:
        return read_index(self.store)


def read_index(store: S3Store) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bytes(obstore.get(store, INDEX_NAME).bytes()))
    return found


def entry(number: int, age: float) -> dict[str, str | int]:
    return {
        "narration_id": f"narration {number}",
        "file_path": f"cache/narration/n{number:05}.mp3",
        "created_at": service_time(SAMPLE_NOW - age * DAY),
        "last_accessed": service_time(SAMPLE_NOW - age * DAY),
        "file_size": 100,
        "variant_id": f"variant {number}",
        "voice_style": "eerie_narrator",
    }


def fill(store: S3Store, contents: dict[str, bytes]) -> None:
    async def put_all() -> None:
        gate = asyncio.Semaphore(32)

        async def put(name: str, content: bytes) -> None:
            async with gate:
                await obstore.put_async(store, name, content)

        await asyncio.gather(*(put(name, content) for name, content in contents.items()))

    asyncio.run(put_all())


def opened(url: str) -> IndexedBucket:
    return IndexedBucket(
        url, index_name=INDEX_NAME, audio_suffixes=(".mp3",), times=IndexTimes("UTC")
    )


def planned(store: CacheStore, now: float = NOW) -> CachePlan:
    with store.survey() as survey:
        return plan_cache(survey, CachePolicy(), now)


def applied(store: CacheStore, plan: CachePlan) -> CacheResult:
    return apply_cache(plan, store, Stop(), NoProgress())


@contextmanager
def through(server: Server, on_request: OnRequest) -> Iterator[dict[str, str]]:
    """The variables that lead to the server by way of a proxy."""
    proxy = Proxy(server.port, on_request)
    try:
        yield server.environment(proxy.port)
    finally:
        proxy.close()


def command(*arguments: str, at: datetime = SAMPLE_NOW) -> list[str]:
    return [sys.executable, "-m", "tests.run_at", at.isoformat(), *arguments]


def environment(url: str, state: Path, **variables: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        "NARRATION_CACHE_DIR": url,
        "NARRATION_CLEANUP_STATE_DIR": str(state),
        "NARRATION_CLEANUP_TIMEZONE": "UTC",
        **variables,
    }


def run(
    url: str,
    state: Path,
    *arguments: str,
    at: datetime = SAMPLE_NOW,
    more: dict[str, str] | None = None,
) -> tuple[int, str, str]:
    done = subprocess.run(
        command(*arguments, at=at),
        env=environment(url, state, **(more or {})),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
    )
    return done.returncode, done.stdout, done.stderr


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def is_removal(data: bytes) -> bool:
    return re.match(rb"POST \S*\?delete", data) is not None


def is_index_put(data: bytes) -> bool:
    return data.startswith(b"PUT ") and INDEX_NAME.encode() in data[:300]


def test_the_whole_job(s3: Server, tmp_path: Path) -> None:
    bucket = Bucket(s3, expired=33, young=27)
    obstore.put(s3.store(bucket.url), "notes.txt", b"kept")
    before = bucket.objects()
    # A dry run writes no mark, and so has no clock but its own, which is stopped before the test.
    settled = {"TESTS_S3_IN_FLIGHT": "-1e9"}
    code, out, err = run(bucket.url, tmp_path, "dry-run", "--json", more=settled)
    assert code == 0, err
    assert json.loads(out)["cache"]["planned_count"] == 33
    assert bucket.objects() == before  # not even a mark
    code, out, err = run(bucket.url, tmp_path, "run", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["cache"]["removed_count"], told["cache"]["freed_bytes"]) == (33, 3300)
    assert bucket.audio() == bucket.young
    kept = list(bucket.entries.items())[33:]
    assert list(bucket.index().items()) == kept
    assert "notes.txt" in bucket.objects()
    code, out, err = run(bucket.url, tmp_path, "run", "--json")
    assert (code, json.loads(out)["cache"]["removed_count"]) == (0, 0)
    code, out, err = run(bucket.url, tmp_path, "stats", "--json")
    assert code == 0, err
    stats = json.loads(out)
    assert (stats["cache"]["entry_count"], stats["in_progress"]) == (27, False)


def test_audio_written_within_five_minutes_is_left_to_the_next_run(
    s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the server's clock: its new entry may be yet to come. Nothing is waited for."""
    bucket = Bucket(s3, expired=3, young=1)
    store = opened(bucket.url)
    monkeypatch.setattr(f"{S3_CACHE}.IN_FLIGHT", 300.0)
    with store.locked():
        with store.survey() as survey:
            plan = plan_cache(survey, CachePolicy(), NOW, explain=True)
        assert len(plan.actions) == 0
        assert [rule for _, rule in plan.held] == [
            "its audio was written less than 5 minutes ago: the next run judges it"
        ] * 3
        monkeypatch.setattr(f"{S3_CACHE}.IN_FLIGHT", 0.0)
        with store.survey() as survey:
            plan = plan_cache(survey, CachePolicy(), NOW)
        assert len(plan.actions) == 3
        assert applied(store, plan).outcomes.count(Outcome.DONE) == 3
    store.close()


def test_explain_reads_a_bucket_and_leaves_no_mark(s3: Server, tmp_path: Path) -> None:
    bucket = Bucket(s3, expired=1, young=1)
    before = bucket.objects()
    settled = {"TESTS_S3_IN_FLIGHT": "-1e9"}
    for name, decision in (("n00000", "remove"), (f"{bucket.url}/n00001.mp3", "keep")):
        code, out, err = run(bucket.url, tmp_path, "explain", "--json", name, more=settled)
        assert (code, err) == (0, "")
        (item,) = json.loads(out)["items"]
        assert (item["decision"], item["rule"]) == (decision, "cache.ttl_days")
        times = {each["name"]: each["source"] for each in item["times"]}
        assert times == {
            "created_at": "index",
            "last_accessed": "index",
            "last_modified": "object",
        }
    assert bucket.objects() == before
    code, out, err = run(bucket.url, tmp_path, "explain", "--json", "n7.mp3", more=settled)
    assert (code, json.loads(out)["items"]) == (1, [])


def test_leftovers_are_found_in_a_bucket_too(s3: Server) -> None:
    """Old orphans and partials by the objects' own time, dangling entries, empty audio."""
    bucket = Bucket(s3, expired=0, young=4)
    obstore.delete(bucket.store, "n00000.mp3")
    obstore.put(bucket.store, "n00001.mp3", b"")
    for name in ("orphan.mp3", "half.part", "folder/other.mp3"):
        obstore.put(bucket.store, name, b"x")
    store = opened(bucket.url)
    later = time.time() + 100 * 86_400
    policy = CachePolicy(ttl=10**9, orphan_ttl=7 * 86_400, partial_ttl=86_400, remove_dangling=True)
    with store.locked():
        with store.survey() as survey:
            plan = plan_cache(survey, policy, later)
        assert {str(reason): count for reason, count in plan.by_reason.items()} == {
            "orphan": 1,
            "partial": 1,
            "dangling": 1,
            "empty": 1,
        }
        result = applied(store, plan)
        assert {outcome for _, outcome, _ in result.outcomes} == {Outcome.DONE}
    store.close()
    assert bucket.audio() == ["folder/other.mp3", "n00002.mp3", "n00003.mp3"]
    assert list(bucket.index()) == ["n00002", "n00003"]


def test_sixteen_writers_of_the_index_lose_nothing(s3: Server) -> None:
    """Each adds entries by read, change and conditional put, beside runs that drop others."""
    bucket = Bucket(s3, expired=40, young=5)
    added: list[str] = []
    stop = threading.Event()

    def write(number: int) -> None:
        mine = s3.store(bucket.url)
        for count in range(400):
            made = 1_000 * (number + 1) + count
            obstore.put(mine, f"n{made:05}.mp3", b"made anew")
            while not _added(mine, f"w{made:05}", entry(made, 0)):
                pass
            added.append(f"w{made:05}")
            if stop.is_set():
                break

    writers = [threading.Thread(target=write, args=(number,)) for number in range(16)]
    for writer in writers:
        writer.start()
    results = []
    for _ in range(2):
        store = opened(bucket.url)
        with store.locked():
            results.append(applied(store, planned(store)))
        store.close()
        # More to expire for the next run.
        for number in range(10 * len(results), 10 * len(results) + 3):
            obstore.put(bucket.store, f"n{500 + number:05}.mp3", b"old")
            while not _added(bucket.store, f"old{number}", entry(500 + number, 30)):
                pass
    stop.set()
    for writer in writers:
        writer.join()
    assert added
    assert set(added) <= bucket.index().keys()
    # Where the writers were first for too long, a run says so, and a later one does the rest.
    assert {p.code for result in results for p in result.problems} <= {"index_busy"}
    store = opened(bucket.url)
    with store.locked():
        last = applied(store, planned(store))
    store.close()
    assert list(last.problems) == []
    index = bucket.index()
    assert set(added) <= index.keys()
    left = {key for key in index if not key.startswith("w")}
    assert left == {f"n{n:05}" for n in range(40, 45)}


def _added(store: S3Store, key: str, value: dict[str, str | int]) -> bool:
    """Add an entry as a careful service does: read, change, put on the version that was read."""
    found = obstore.get(store, INDEX_NAME)
    content = json.dumps(json.loads(bytes(found.bytes())) | {key: value}, indent=2).encode()
    try:
        obstore.put(store, INDEX_NAME, content, mode={"e_tag": found.meta["e_tag"]})
    except PreconditionError:
        return False
    return True


def test_two_runs_at_once_and_a_regeneration_lose_nothing_in_any_order(
    s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All orders of the steps of two runs and of a service that makes an expired narration anew."""
    orders = sorted(order for order in set(permutations("AAABBBSS")) if order.index("A") == 0)
    buckets = [Bucket(s3, expired=2, young=1) for _ in orders]
    time.sleep(1 - time.time() % 1)  # the server's times have no fractions
    now = int(time.time())
    monkeypatch.setattr(S3Location, "server_now", lambda _: now)
    for order, bucket in zip(orders, buckets, strict=True):
        steps = {"A": stepwise(bucket.url), "B": stepwise(bucket.url), "S": regeneration(bucket)}
        for step in order:
            next(steps[step])
        index = bucket.index()
        assert bucket.entries["n00002"] == index["n00002"], order
        assert entry(0, 0) == index["n00000"], order
        sizes = {name: obstore.head(bucket.store, name)["size"] for name in bucket.audio()}
        assert sizes == {"n00000.mp3": 1_234, "n00002.mp3": 100}, order
        assert index.keys() == {"n00000", "n00002"}, order


def stepwise(url: str) -> Iterator[None]:
    """A run that stops after it has planned, after it has removed and after its commit."""
    store = opened(url)
    plan = planned(store)
    yield
    removed = [action for action in plan.actions if action.kind is Kind.REMOVE_ENTRY]
    results = store.remove([FileTarget(action.file, entry=action.ref) for action in removed])
    yield
    gone = [
        (action.ref, action.file)
        for action, removal in zip(removed, results, strict=True)
        if removal.outcome is Outcome.DONE
    ]
    assert store.remove_entries(gone).error is None
    store.close()
    yield


def regeneration(bucket: Bucket) -> Iterator[None]:
    """The service writes audio, and then its entry."""
    obstore.put(bucket.store, "n00000.mp3", audio(1, 1_234))
    yield
    while not _added(bucket.store, "n00000", entry(0, 0)):
        pass
    yield


def test_two_runs_at_once_of_two_machines_both_do_their_work(s3: Server, tmp_path: Path) -> None:
    """The second begins and ends while the first waits with its removal."""
    bucket = Bucket(s3, expired=5, young=5)
    reached, go_on = threading.Event(), threading.Event()

    def hold(data: bytes) -> Do:
        if is_removal(data):
            reached.set()
            go_on.wait(60)
        return Do.PASS

    with through(s3, hold) as variables:
        first = subprocess.Popen(
            command("run"),
            env=environment(bucket.url, tmp_path / "one", **variables),
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert reached.wait(60)
        code, _, err = run(bucket.url, tmp_path / "one", "run")
        assert code == 75, err  # on one machine, and with one history, runs wait for each other
        assert "another run" in err
        code, out, err = run(bucket.url, tmp_path / "two", "run", "--json")
        assert code == 0, err
        assert json.loads(out)["cache"]["removed_count"] == 5
        go_on.set()
        _, err = first.communicate(timeout=60)
    assert first.returncode == 0, err
    assert bucket.audio() == bucket.young
    assert list(bucket.index()) == [name[:-4] for name in bucket.young]


def test_ten_thousand_objects_in_a_few_requests(s3: Server, tmp_path: Path) -> None:
    """1,000 of 10,000 go in one request to delete; the rest is pages of a listing."""
    bucket = Bucket(s3, expired=1_000, young=9_000)
    requests: list[bytes] = []

    def count(data: bytes) -> Do:
        line = re.match(rb"(GET|PUT|POST|HEAD|DELETE) (\S+) HTTP", data)
        if line:
            requests.append(line.group(1) + b" " + line.group(2))
        return Do.PASS

    with through(s3, count) as variables:
        code, out, err = run(bucket.url, tmp_path, "run", "--json", more=variables)
    assert code == 0, err
    assert json.loads(out)["cache"]["removed_count"] == 1_000
    assert bucket.audio() == bucket.young
    assert len(bucket.index()) == 9_000
    removals = [line for line in requests if line.startswith((b"POST", b"DELETE"))]
    print(f"{len(removals)} requests to delete, {len(requests)} in all")
    assert len(removals) == 1
    assert len(requests) <= 70


@pytest.mark.parametrize("moment", ["first removal", "index"])
def test_a_server_that_is_killed_in_the_middle(
    s3_server: Server, tmp_path: Path, moment: str
) -> None:
    server = Server()
    try:
        server.start()
        bucket = Bucket(server, expired=30, young=10)
        make_requests(tmp_path / "requests.db", now=SAMPLE_NOW)
        more = {"NARRATION_REQUESTS_DB": str(tmp_path / "requests.db")}
        more["TESTS_S3_IN_FLIGHT"] = "-1"
        killed: list[bool] = []

        def kill(data: bytes) -> Do:
            if not killed and (
                is_removal(data) if moment == "first removal" else is_index_put(data)
            ):
                killed.append(True)
                server.kill()
            return Do.PASS

        with through(server, kill) as variables:
            code, out, err = run(
                bucket.url, tmp_path / "state", "run", "--json", more=variables | more
            )
            assert killed
            assert code == 3, err
            told = json.loads(out)
            assert told["outcome"] == "partial"
            assert told["requests"]["cancelled_count"] == 7  # the other half went on
            assert "bucket_unreachable" in {p["code"] for p in told["problems"]} or any(
                "next run" in p["message"] for p in told["problems"]
            )
            assert SECRET_KEY not in out + err
        server.start()
        variables = server.environment() | more
        code, out, err = run(bucket.url, tmp_path / "state", "run", "--json", more=variables)
        assert code == 0, err
        assert bucket.audio() == bucket.young
        assert list(bucket.index()) == [name[:-4] for name in bucket.young]
    finally:
        server.remove()


def test_throttled_and_dropped_requests_are_tried_again(s3: Server, tmp_path: Path) -> None:
    bucket = Bucket(s3, expired=5, young=5)
    seen: list[bytes] = []

    def hinder(data: bytes) -> Do | Answer:
        if re.match(rb"(GET|HEAD|PUT|POST) ", data):
            seen.append(data)
            if len(seen) % 3 == 1 and not data.startswith(b"PUT"):
                return Do.CUT
            if len(seen) % 3 == 2 and data.startswith((b"GET", b"HEAD")):
                return Answer(SLOW_DOWN)
        return Do.PASS

    with through(s3, hinder) as variables:
        code, _, err = run(bucket.url, tmp_path, "run", more=variables)
    assert code == 0, err
    assert bucket.audio() == bucket.young


def test_an_index_whose_put_lost_its_answer_is_written_once(s3: Server, tmp_path: Path) -> None:
    bucket = Bucket(s3, expired=5, young=5)
    cut: list[bool] = []

    def deafen(data: bytes) -> Do:
        if is_index_put(data) and not cut:
            cut.append(True)
            return Do.DEAF
        return Do.PASS

    with through(s3, deafen) as variables:
        code, _, err = run(bucket.url, tmp_path, "run", more=variables)
    assert cut
    assert code == 0, err
    assert bucket.audio() == bucket.young
    assert list(bucket.index()) == [name[:-4] for name in bucket.young]


def test_a_server_that_ignores_if_match_is_refused_for_an_index(s3: Server, tmp_path: Path) -> None:
    """Found out by trying, on an object of the tool's own, before anything is touched."""
    bucket = Bucket(s3, expired=5, young=5)

    def strip(data: bytes) -> Do | Instead:
        if data.startswith(b"PUT "):
            return Instead(re.sub(rb"(?i)\r\nif-(none-)?match:[^\r]*", b"", data))
        return Do.PASS

    with through(s3, strip) as variables:
        variables["AWS_SKIP_SIGNATURE"] = "true"
        code, _, err = run(bucket.url, tmp_path, "run", more=variables)
        assert code == 78, err
        assert "If-Match" in err
        assert bucket.audio() == bucket.expired + bucket.young
        assert bucket.index() == bucket.entries
        # Without an index there is nothing to lose by it.
        code, out, err = run(
            bucket.url,
            tmp_path,
            "run",
            "--json",
            "--ignore-clock",
            at=datetime.now(UTC) + 8 * DAY,
            more=variables | NO_INDEX,
        )
        assert code == 0, err
        assert json.loads(out)["cache"]["removed_count"] == 10
    assert bucket.audio() == []


def test_without_an_index_age_is_the_time_of_the_last_change(s3: Server, tmp_path: Path) -> None:
    """Audio goes with its sidecars, in folders too; nothing else does, and nothing young."""
    url = s3.new_url()
    store = s3.store(url)
    old = ["a.mp3", "a.json", "b/c.mp3", "b/c.vtt", "b.mp3", "twin.mp3", "twin.wav", "twin.txt"]
    foreign = ["notes.txt", "b.yaml", "state.db", "b/d.pho"]
    fill(store, dict.fromkeys([*old, *foreign], b"12345"))
    code, out, err = run(
        url,
        tmp_path,
        "run",
        "--json",
        at=datetime.now(UTC) + 8 * DAY,
        more=NO_INDEX,
    )
    assert code == 0, err
    told = json.loads(out)
    assert told["cache"]["removed_count"] == 5
    assert told["cache"]["freed_bytes"] == 40
    left = {m["path"] for m in obstore.list(store).collect()}
    assert {name for name in left if not name.startswith(".narration-cleanup/")} == set(foreign)
    fill(store, {"young.mp3": b"1"})
    code, out, err = run(
        url,
        tmp_path,
        "run",
        "--json",
        "--ignore-clock",
        at=datetime.now(UTC),
        more=NO_INDEX,
    )
    assert (code, json.loads(out)["cache"]["removed_count"]) == (0, 0), err


@pytest.mark.parametrize("at_a_time", [1, 1_024])
def test_sidecars_that_audio_shares_go_with_the_last_of_it(
    at_a_time: int, s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether that is in one batch, in another one or in a later run; a changed one stays."""
    monkeypatch.setattr(apply, "FILES_AT_A_TIME", at_a_time)
    monkeypatch.setattr(apply, "MOST_FILES", at_a_time)
    url = s3.new_url()
    bucket = s3.store(url)
    fill(bucket, {f"{stem}.{kind}": b"1" for stem in STEMS for kind in ("mp3", "wav")})
    fill(bucket, {f"{stem}.json": b"12345" for stem in STEMS} | {"f/both.mp3.vtt": b"12"})
    later = time.time() + 8 * 86_400

    def left() -> set[str]:
        return {m["path"] for m in obstore.list(bucket).collect()}

    store = PlainBucket(url, audio_suffixes=(".mp3", ".ogg", ".wav"))
    with store.survey() as survey:
        (text, *audio) = survey.find(["first.json"]).sightings
        assert (text.goes_with, len(audio)) == ("first.mp3 and first.wav", 2)
        plan = plan_cache(survey, CachePolicy(keep=("first.mp3", "second.wav")), later)
    assert plan.totals.total_size_bytes == 2 * len(STEMS) + 5 * len(STEMS) + 2, "each once"
    assert plan.shares_sidecars
    assert not any("with its sidecar" in action.detail for action in plan.actions)
    fill(bucket, {"changed.json": b"anew", "made.mp3": b"anew", "third.ogg": b"come since"})
    result = applied(store, plan)
    skipped = {action.file for action, outcome, _ in result.outcomes if outcome is Outcome.SKIPPED}
    assert skipped == {"changed.mp3", "changed.wav", "made.mp3"}
    assert result.removed_count == 7
    assert result.freed_bytes == 7 + 5 + 2
    kept = {"first.mp3", "first.json", "second.wav", "second.json", "third.ogg", "third.json"}
    kept |= {"changed.mp3", "changed.wav", "changed.json", "made.mp3", "made.json"}
    assert left() == kept
    assert applied(store, planned(store, later)).removed_count == 6
    assert left() == set()


def test_an_object_that_changed_since_the_look_stays(s3: Server) -> None:
    url = s3.new_url()
    bucket = s3.store(url)
    fill(bucket, {"a.mp3": b"1", "b.mp3": b"1", "b.json": b"1", "c.mp3": b"1"})
    store = PlainBucket(url, audio_suffixes=(".mp3",))
    with store.locked():
        plan = planned(store, time.time() + 8 * 86_400)
        fill(bucket, {"a.mp3": b"22", "b.json": b"22"})
        result = applied(store, plan)
    done = {action.file: outcome for action, outcome, _ in result.outcomes}
    assert done == {"a.mp3": Outcome.SKIPPED, "b.mp3": Outcome.SKIPPED, "c.mp3": Outcome.DONE}
    left = {m["path"] for m in obstore.list(bucket).collect()}
    assert left >= {"a.mp3", "b.mp3", "b.json"}
    assert "c.mp3" not in left


@pytest.mark.parametrize("with_index", [False, True])
def test_the_mark_of_a_folder_is_no_audio(with_index: bool, s3: Server) -> None:
    """A console makes ``x.mp3/`` for a folder of that name; a listing has it as ``x.mp3``."""
    bucket = Bucket(s3, expired=1, young=0)
    fill(bucket.store, {"empty.mp3": b""})
    if with_index:
        store: CacheStore = opened(bucket.url)
    else:
        obstore.delete(bucket.store, INDEX_NAME)
        store = PlainBucket(bucket.url, audio_suffixes=(".mp3",), remove_sidecars=True)
    marks = {"empty.json", "n00000.json", "sub/mark.mp3.part"} | {f"m{n}.mp3" for n in range(9)}
    for name in marks:
        url = bucket.url.replace("s3:/", s3.endpoint)
        urlopen(Request(f"{url}/{name}/", method="PUT", data=b"")).close()
    assert marks < bucket.objects()
    week = 7 * 86_400
    policy = CachePolicy(orphan_ttl=week, partial_ttl=week, sidecar_ttl=week)
    with store.survey() as survey:
        plan = plan_cache(survey, policy, max(NOW, time.time()) + 2 * week)
        assert survey.find(["m0.mp3", "sub/mark.mp3.part"]).sightings == ()
    assert {action.file for action in plan.actions} == {"empty.mp3", "n00000.mp3"}
    assert plan.totals.entry_count == 1 + (not with_index)
    assert applied(store, plan).removed_count == 2
    assert bucket.objects() == marks | ({INDEX_NAME} if with_index else set())


def test_audio_beside_the_mark_of_a_folder_of_its_name_counts_once(s3: Server) -> None:
    """As the listing of a server that allows both has them."""
    bucket = Bucket(s3, expired=1, young=0)

    def with_mark(data: bytes) -> Do | Instead | Answer:
        if b"list-type=2" not in data.partition(b"\r\n")[0]:
            return Do.PASS
        key = f"{bucket.url.removeprefix('s3://narration/')}/n00000.mp3"
        body = "<ListBucketResult><IsTruncated>false</IsTruncated>"
        for name, size in ((key, 100), (f"{key}/", 0)):
            body += f"<Contents><Key>{name}</Key><Size>{size}</Size>"
            body += "<LastModified>2026-11-27T04:01:34Z</LastModified></Contents>"
        body += "</ListBucketResult>"
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
        return Answer((head + body).encode())

    with through(s3, with_mark) as variables, pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        plan = planned(PlainBucket(bucket.url, audio_suffixes=(".mp3",)), 0)
    assert (plan.totals.entry_count, plan.totals.total_size_bytes) == (1, 100)


def test_leftovers_without_an_index_go_and_what_else_lies_there_stays(s3: Server) -> None:
    """Objects are as old as the server says: all are, but for those written an hour ago."""
    url = s3.new_url()
    bucket = s3.store(url)
    fresh = {f"{digest(2)}.Mp3", f"{digest(2)}.json"}
    fill(bucket, USELESS | SIDECARS | KEPT | {name: FRESH[name] for name in fresh})
    store = PlainBucket(url, audio_suffixes=(".mp3", ".wav"), remove_sidecars=True)
    policy = CachePolicy(keep=("*.Mp3",), partial_ttl=86_400, sidecar_ttl=7 * 86_400)
    with store.locked():
        with store.survey() as survey:
            plan = plan_cache(survey, policy, time.time() + 8 * 86_400)
        reasons = {action.file: action.reason for action in plan.actions}
        assert reasons["empty.mp3"] == "expired"  # which goes before its being empty
        assert reasons["a.mp3.part"] == reasons["low/.B.WAV.TMP"] == "partial"
        assert {reasons[name] for name in SIDECARS} == {"orphan"}
        obstore.put(bucket, f"{digest(5)}.mp3", b"made anew")
        applied(store, plan)
    left = {m["path"] for m in obstore.list(bucket).collect() if not m["path"].startswith(".")}
    assert left == KEPT.keys() | fresh | {f"{digest(5)}.json", f"{digest(5)}.mp3"}


@pytest.mark.parametrize("member", [None, "entries"])
def test_an_index_of_another_form_is_cleaned_in_a_bucket_too(
    s3: Server, member: str | None
) -> None:
    """By the names of another program, beside a save that came since the survey."""
    bucket = Bucket(s3, expired=3, young=2)
    moments = [SAMPLE_NOW - days * DAY for days in (20, 21, 22, 1, 2)]
    entries: dict[str, object] = {
        f"{moment:%Y%m%d%H%M%S}": {"text": "private", "file_name": f"./out/n{number:05}.mp3"}
        for number, moment in enumerate(moments)
    }

    def document(of: dict[str, object]) -> object:
        return of if member is None else {"version": 2, member: of}

    def save(of: dict[str, object]) -> None:
        obstore.put(bucket.store, INDEX_NAME, json.dumps(document(of)).encode())

    save(entries)
    store = IndexedBucket(
        bucket.url,
        index_name=INDEX_NAME,
        audio_suffixes=(".mp3",),
        times=IndexTimes("UTC"),
        dir_in_index=["./out"],
        form=IndexForm("file_name", "@key", None, None, None, None, member),
    )
    plan = planned(store)
    assert plan.planned_bytes == 300
    late = {"20261123115900": {"text": "late", "file_name": "./out/n00003.mp3"}}
    save(entries | late)
    applied(store, plan)
    store.close()
    assert bucket.audio() == bucket.young
    stays = {key: value for number, (key, value) in enumerate(entries.items()) if number >= 3}
    kept = json.loads(bytes(obstore.get(bucket.store, INDEX_NAME).bytes()))
    assert json.dumps(kept) == json.dumps(document(stays | late))
    obstore.put(bucket.store, INDEX_NAME, b'{"items": {}}')
    with pytest.raises(IndexFormatError):
        planned(opened_by(bucket.url, "entries"))


def opened_by(url: str, member: str) -> IndexedBucket:
    return IndexedBucket(
        url,
        index_name=INDEX_NAME,
        audio_suffixes=(".mp3",),
        times=IndexTimes("UTC"),
        form=IndexForm(member=member),
    )


def test_a_large_index_is_not_held_in_memory(s3: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes through a file without a name; the result is the same."""
    monkeypatch.setattr(indexed, "HELD_WHOLE", 1_000)
    bucket = Bucket(s3, expired=20, young=20)
    store = opened(bucket.url)
    with store.locked():
        applied(store, planned(store))
    store.close()
    assert list(bucket.index().items()) == list(bucket.entries.items())[20:]


def test_the_ways_in_which_an_index_may_name_its_place(s3: Server) -> None:
    bucket = Bucket(s3, expired=8, young=0)
    inside = bucket.url.removeprefix("s3://")
    forms: Sequence[tuple[str, bool]] = [
        (f"{bucket.url}/n00000.mp3", True),
        (f"/{inside}/n00001.mp3", True),
        (f"{inside}/n00002.mp3", True),
        ("narration/n00003.mp3", True),
        ("n00004.mp3", True),
        ("s3://another/cache/narration/n00005.mp3", False),
        (f"{bucket.url}/../n00006.mp3", False),
        ("/n00007.mp3", False),
    ]
    entries = bucket.entries
    for (path, _), value in zip(forms, entries.values(), strict=True):
        value["file_path"] = path
    obstore.put(bucket.store, INDEX_NAME, json.dumps(entries, indent=2).encode())
    store = opened(bucket.url)
    with store.locked():
        plan = planned(store)
        assert [problem.code for problem in plan.problems] == ["outside_cache"] * 3
        applied(store, plan)
    store.close()
    assert bucket.audio() == ["n00005.mp3", "n00006.mp3", "n00007.mp3"]


def test_the_index_keeps_what_the_server_knows_of_it(s3: Server) -> None:
    """Its content type and metadata, which a put would otherwise take away."""
    bucket = Bucket(s3, expired=3, young=3)
    kept = {"Content-Type": "application/json", "owner": "the service"}
    content = json.dumps(bucket.entries, indent=2).encode()
    obstore.put(bucket.store, INDEX_NAME, content, attributes=kept)
    store = opened(bucket.url)
    with store.locked():
        applied(store, planned(store))
    store.close()
    found = obstore.get(bucket.store, INDEX_NAME).attributes
    assert {name: found.get(name) for name in kept} == kept


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "index_unreadable"),
        (b"{", "index_unreadable"),
        (b"[]", "index_format"),
        (b"\xff\xfe{}", "index_unreadable"),
    ],
)
def test_a_damaged_index_removes_nothing(
    s3: Server, tmp_path: Path, content: bytes, problem: str
) -> None:
    bucket = Bucket(s3, expired=3, young=3)
    obstore.put(bucket.store, INDEX_NAME, content)
    code, out, _ = run(bucket.url, tmp_path, "run", "--json")
    assert code == 1
    assert problem in {p["code"] for p in json.loads(out)["problems"]}
    assert len(bucket.audio()) == 6


def test_no_index_is_a_fault_of_the_configuration_and_leaves_no_trace(
    s3: Server, tmp_path: Path
) -> None:
    url = s3.new_url()
    code, _, err = run(url, tmp_path, "run")
    assert code == 78
    assert 'cache.index = "none"' in err
    assert obstore.list(s3.store(url)).collect() == []


def test_keys_are_shown_nowhere_and_wrong_ones_are_told(s3: Server, tmp_path: Path) -> None:
    bucket = Bucket(s3, expired=3, young=3)
    for variables, codes in (
        ({}, (0, 0)),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, (1, 1)),
        ({"AWS_SECRET_ACCESS_KEY": "wrong/canary"}, (1, 1)),
        ({"AWS_ACCESS_KEY_ID": "reader"}, (1, 0)),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1/canary"}, (1, 1)),
    ):
        for arguments, expected in zip((["run", "-v"], ["dry-run", "--json"]), codes, strict=True):
            code, out, err = run(bucket.url, tmp_path / "state", *arguments, more=variables)
            assert code == expected, out + err
            assert "canary" not in out + err
    kept = [path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert kept
    assert not any(b"canary" in content for content in kept)


@pytest.mark.parametrize(
    "url", ["s3://key:canary@bucket/x", "s3://bucket//x", "s3://bucket/../x", "s3:///x", "s3://b"]
)
def test_a_url_with_a_slip_is_a_fault_of_the_configuration(url: str) -> None:
    with pytest.raises(ConfigError) as fault:
        PlainBucket(url, audio_suffixes=(".mp3",))
    assert "canary" not in str(fault.value)


def test_without_its_library_one_line_says_what_to_install(tmp_path: Path) -> None:
    program = "import sys; sys.modules['obstore'] = None\nimport runpy\nsys.argv[1:] = ['run']\n"
    program += "runpy.run_module('narration_cleanup', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment("s3://bucket/prefix", tmp_path),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 78
    assert "pip install 'narration-cleanup[s3]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_regenerations_beside_runs_survive(s3: Server) -> None:
    """The service makes expired narrations anew, audio then entry, while runs remove them."""
    cache = BucketCache(s3)
    for number in range(30):
        cache.put(f"n{number}", 20)
    for number in range(0, 30, 3):
        store = cache.open()
        with store.locked():
            plan = planned(store)
            cache.renew(f"n{number}")
            applied(store, plan)
        store.close()
        assert cache.audio()[f"n{number}"] == 1_234
        assert f"n{number}" in cache.entries()
        if number:
            break
