"""The index codec: what is read, what is refused, and that all that stays is as it was."""

import json
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narration_cleanup.core.model import Ref
from narration_cleanup.stores.cache import index
from narration_cleanup.stores.cache.index import UnreadableIndexError
from narration_cleanup.stores.cache.members import IndexMember, MalformedEntry, MemberReader
from narration_cleanup.stores.cache.rewrite import without

MEMBER = {
    "narration_id": "d17f9aca-e01f-5057-ca02-135e92b1d3f2",
    "file_path": "cache/narration/a.mp3",
    "created_at": "2026-11-03T21:30:40.734601",
    "last_accessed": "2026-11-05T06:02:27.361547",
    "file_size": 24516,
    "variant_id": "variant-0000",
    "voice_style": "ghostly_whisper",
}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PLAIN = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS
JSON = st.recursive(
    PLAIN, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=8
)
GOOD = st.builds(
    lambda size, voice: MEMBER | {"file_size": size, "voice_style": voice},
    st.integers(0, 10**9),
    TEXTS,
)
INDEXES = st.dictionaries(TEXTS, GOOD | GOOD | GOOD | JSON, max_size=12)
FORMS = st.sampled_from(
    [
        {"indent": 2},
        {"indent": 2, "ensure_ascii": False},
        {"indent": None},
        {"indent": 4, "ensure_ascii": False},
        {"indent": "\t"},
        {"separators": (",", ":")},
        {"separators": (" ,  ", "\n:\t")},
    ]
)


def reader(raw: bytes) -> index.Read:
    return lambda offset, size: raw[offset : offset + size]


def keys_of(raw: bytes) -> list[str]:
    return [key for batch in index.members(reader(raw), len(raw)) for key in batch.keys]


def refs_of(raw: bytes) -> list[Ref]:
    return [
        batch.ref(position)
        for batch in index.members(reader(raw), len(raw))
        for position in range(len(batch.keys))
    ]


def drop(raw: bytes, unwanted: set[int]) -> bytes:
    """The index without the members at these positions, through the product's own functions."""
    refs = refs_of(raw)
    end = refs[-1][1] if refs else 0
    spans = [ref for number, ref in enumerate(refs) if number in unwanted]
    return b"".join(without(reader(raw), len(raw), spans, end))


@given(INDEXES, FORMS, st.booleans(), st.data(), st.integers(16, 400))
def test_what_stays_is_as_it_was(
    entries: dict[str, object], form: dict[str, object], crlf: bool, data: st.DataObject, chunk: int
) -> None:
    """In every form of JSON: the same members in the same order, whichever are dropped."""
    text = json.dumps(entries, **form)  # type: ignore[arg-type]
    raw = (text.replace("\n", "\r\n") if crlf else text).encode()
    unwanted = data.draw(st.sets(st.integers(0, max(len(entries) - 1, 0)))) if entries else set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "CHUNK", chunk)
        assert keys_of(raw) == list(entries)
        left = drop(raw, unwanted)
    kept = [item for number, item in enumerate(entries.items()) if number not in unwanted]
    assert list(json.loads(left).items()) == kept
    if form == {"indent": 2} and not crlf:
        assert left.decode() == json.dumps(dict(kept), indent=2)
    if not unwanted:
        assert left == raw


PIECES = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "}", "{"]),
        st.builds(
            lambda size, voice: MEMBER | {"file_size": size, "voice_style": voice},
            st.integers(0, 3),
            st.sampled_from(["v", "}", "},", "\n  },\n"]),
        ),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)
"""Keys, some of them twice, with values; whether each is written as the service would."""


def written(pieces: list[tuple[str, dict[str, object], bool]]) -> bytes:
    members = [
        f"  {json.dumps(key)}: "
        + (json.dumps(value, indent=2).replace("\n", "\n  ") if plain else json.dumps(value))
        for key, value, plain in pieces
    ]
    return ("{\n" + ",\n".join(members) + "\n}").encode()


@given(PIECES, st.integers(16, 4_000))
def test_a_member_and_its_bytes_belong_together(
    pieces: list[tuple[str, dict[str, object], bool]], chunk: int
) -> None:
    """Written by hand, keys may stand twice and ends look otherwise: no count may hide that."""
    raw = written(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "CHUNK", chunk)
        found = [
            (key, value, batch.ref(position))
            for batch in index.members(reader(raw), len(raw))
            for position, (key, value) in enumerate(zip(batch.keys, batch.values, strict=True))
        ]
    assert [key for key, _, _ in found] == [key for key, _, _ in pieces]
    for (key, value, ref), (_, said, _) in zip(found, pieces, strict=True):
        assert json.loads(b"{%b}" % raw[ref[0] : ref[1]].strip(b", \n")) == {key: said}
        if isinstance(value, IndexMember):
            assert value.file_size == said["file_size"]
        else:
            assert "twice" in value.why
            assert value.file_path == said["file_path"]
            assert [other for other, _, _ in pieces].count(key) > 1


@pytest.mark.parametrize("entries", [{"a": MEMBER}, {"a": MEMBER, "b": MEMBER}])
@pytest.mark.parametrize("chunk", [64, 1 << 18])
def test_a_comma_behind_the_last_member_is_no_json(
    entries: dict[str, object], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "CHUNK", chunk)
    raw = json.dumps(entries, indent=2).encode()[:-2] + b",\n}"
    with pytest.raises(UnreadableIndexError, match="a name was expected"):
        keys_of(raw)


@pytest.mark.parametrize("twice", [0, 1, 2])
def test_a_member_that_is_to_go_twice_goes_once(twice: int) -> None:
    """Whoever asks for that is wrong; the index must not suffer for it."""
    entries = {"a": 1, "b": 2, "c": 3}
    raw = json.dumps(entries, indent=2).encode()
    refs = refs_of(raw)
    spans = sorted([*refs[1:], refs[twice]])
    left = b"".join(without(reader(raw), len(raw), spans, refs[-1][1]))
    assert json.loads(left) == ({} if twice == 0 else {"a": 1})


@given(INDEXES, FORMS, st.booleans(), st.integers(16, 400))
def test_all_ways_of_reading_agree(
    entries: dict[str, object], form: dict[str, object], crlf: bool, chunk: int
) -> None:
    """Decoded at once, member by member, or scanned, in pieces of any size: the same keys, values,
    places and digests."""
    text = json.dumps(entries, **form)  # type: ignore[arg-type]
    raw = (text.replace("\n", "\r\n") if crlf else text).encode()

    def read() -> list[tuple[str, object, Ref]]:
        return [
            (key, value, batch.ref(position))
            for batch in index.members(reader(raw), len(raw))
            for position, (key, value) in enumerate(zip(batch.keys, batch.values, strict=True))
        ]

    def undecodable(_: bytes) -> NoReturn:
        raise ValueError

    whole = read()
    assert [ref[0] for _, _, ref in whole[1:]] == [ref[1] for _, _, ref in whole[:-1]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "CHUNK", chunk)
        assert read() == whole
        patch.setattr(index, "_decode_chunk", undecodable)
        assert read() == whole
        patch.setattr(MemberReader, "decoded", lambda *_: None)
        assert read() == whole


@given(INDEXES, FORMS, st.data())
def test_a_torn_index_is_never_a_shorter_one(
    entries: dict[str, object], form: dict[str, object], data: st.DataObject
) -> None:
    raw = json.dumps(entries, **form).encode()  # type: ignore[arg-type]
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(UnreadableIndexError):
        keys_of(raw[:cut])


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b'"text"', "not a JSON object"),
        (b"null", "not a JSON object"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"a": 1,}', "name was expected"),
        (b'{"a": 1} x', "something follows"),
        (b'{"a" 1}', "colon"),
        (b"{'a': 1}", "name was expected"),
        (b'{"a": "raw\nnewline"}', "not whole JSON"),
    ],
    ids=lambda value: repr(value[:12]) if isinstance(value, bytes) else value,
)
def test_what_is_no_index_is_refused_with_the_reason(raw: bytes, why: str) -> None:
    with pytest.raises(UnreadableIndexError, match=why):
        keys_of(raw)


def members_of(raw: bytes) -> list[tuple[str, IndexMember | MalformedEntry]]:
    return [
        pair
        for batch in index.members(reader(raw), len(raw))
        for pair in zip(batch.keys, batch.values, strict=True)
    ]


@pytest.mark.parametrize("indent", [2, None])
@pytest.mark.parametrize(
    ("hostile", "why"),
    [
        (b"NaN", "NaN is not JSON"),
        (b"-Infinity", "-Infinity is not JSON"),
        (b"9" * 5_000, "a number of 5000 digits"),
        (b'"\\ud800"', "surrogate"),
    ],
)
def test_a_member_that_is_not_json_to_the_letter_is_malformed_alone(
    hostile: bytes, why: str, indent: int | None
) -> None:
    entries = {"a": MEMBER, "b": MEMBER | {"file_size": 77}, "c": MEMBER}
    raw = json.dumps(entries, indent=indent).encode().replace(b"77", hostile)
    (_, before), (_, it), (_, behind) = members_of(raw)
    assert isinstance(before, IndexMember)
    assert before == behind
    assert isinstance(it, MalformedEntry)
    assert why in it.why
    assert it.file_path == MEMBER["file_path"]
    left = drop(raw, {0, 2})
    assert hostile in left
    assert left.count(b"file_size") == 1


def test_a_strange_key_makes_its_member_malformed_alone() -> None:
    value = json.dumps(MEMBER).encode()
    strange = b"k" * 100_000
    raw = b'{"a": %b, "\\ud800": %b, "%b": %b, "c": %b}' % (value, value, strange, value, value)
    found = [type(value) for _, value in members_of(raw)]
    assert found == [IndexMember, MalformedEntry, MalformedEntry, IndexMember]
    assert json.loads(drop(raw, {0, 3})).keys() == {"\ud800", strange.decode()}


def test_a_hostile_depth_is_refused() -> None:
    raw = json.dumps({"a": MEMBER, "b": MEMBER | {"file_size": 77}}, indent=2).encode()
    with pytest.raises(UnreadableIndexError):
        keys_of(raw.replace(b"77", b"[" * 100_000))


@pytest.mark.parametrize(
    "change",
    [
        {"mood": {"new": ["field", 1]}},
        {"file_size": 24516.0},
        {"narration_id": None},
        {"variant_id": None, "voice_style": 7},
        {"file_size": "24 kB", "last_accessed": 3},
    ],
)
@pytest.mark.parametrize("indent", [2, None])
def test_a_member_is_understood_by_its_path_and_its_time(
    change: dict[str, object], indent: int | None
) -> None:
    """What else it has, of whatever type, is carried along; each version of it has its digest."""
    for removed in ([], ["variant_id", "voice_style", "last_accessed", "file_size"]):
        entries = {"a": MEMBER, "b": MEMBER | change, "c": MEMBER}
        for field in removed:
            entries["b"].pop(field)
        raw = json.dumps(entries, indent=indent).encode()
        _, (_, value), _ = members_of(raw)
        assert isinstance(value, IndexMember)
        assert (value.file_path, value.created_at) == (MEMBER["file_path"], MEMBER["created_at"])
        assert json.loads(drop(raw, {0, 2})) == {"b": entries["b"]}
        again = json.dumps({"b": entries["b"] | {"hits": 2}}, indent=indent).encode()
        assert refs_of(raw)[1][2] not in {digest for _, _, digest in refs_of(again)}


def test_what_lacks_a_path_or_a_time_is_malformed() -> None:
    """Its path, if it has one, is known all the same."""
    entries = {"number": 5, "path": {"file_path": 3}, "time": MEMBER | {"created_at": True}}
    values = [value for _, value in members_of(json.dumps(entries, indent=2).encode())]
    assert all(isinstance(value, MalformedEntry) for value in values)
    assert [value.file_path for value in values] == [None, None, MEMBER["file_path"]]


def test_an_index_of_nothing_has_no_members() -> None:
    assert keys_of(b"{}") == keys_of(b"{\n}") == []
