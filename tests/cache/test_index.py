"""The index codec: what is read, what is refused, and that all that stays is as it was."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narration_cleanup.cache import index
from narration_cleanup.cache.index import IndexMember, Odd, UnreadableIndexError
from narration_cleanup.model import Ref

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
    return b"".join(index.without(reader(raw), len(raw), spans, end))


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
        assert isinstance(value, IndexMember)
        assert value.file_size == said["file_size"]


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
    left = b"".join(index.without(reader(raw), len(raw), spans, refs[-1][1]))
    assert json.loads(left) == ({} if twice == 0 else {"a": 1})


@given(INDEXES, st.integers(16, 400))
def test_both_ways_of_reading_agree(entries: dict[str, object], chunk: int) -> None:
    """Chunks or the whole: the same keys, values, places and digests."""
    raw = json.dumps(entries, indent=2).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "CHUNK", chunk)
        in_chunks = [
            (key, value, ref[2], raw[ref[0] : ref[1]].strip(b", \n"))
            for batch in index.members(reader(raw), len(raw))
            for key, value, ref in zip(
                batch.keys, batch.values, map(batch.ref, range(len(batch.keys))), strict=True
            )
        ]
    whole = [
        (key, value, ref[2], raw[ref[0] : ref[1]].strip(b", \n"))
        for batch in index._members_of_whole(reader(raw), len(raw))
        for key, value, ref in zip(
            batch.keys, batch.values, map(batch.ref, range(len(batch.keys))), strict=True
        )
    ]
    assert in_chunks == whole


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
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "not whole JSON"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"\\ud800": 1}', "surrogate"),
        (b'{"a": {"b": "\\udfff"}}', "surrogate"),
        (b'{"' + b"k" * 10_000_000 + b'": 1}', "characters"),
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


@pytest.mark.parametrize("hostile", [b"NaN", b"9" * 5_000, b'"\\ud800"', b"[" * 100_000])
def test_a_hostile_value_in_the_services_form_is_refused_too(hostile: bytes) -> None:
    raw = json.dumps({"a": MEMBER, "b": MEMBER | {"file_size": 77}}, indent=2).encode()
    with pytest.raises(UnreadableIndexError):
        keys_of(raw.replace(b"77", hostile))


def test_odd_members_are_kept_apart() -> None:
    """An entry with more or fewer fields is no entry to judge, but its file is known."""
    entries = {"good": MEMBER, "more": MEMBER | {"extra": 1}, "number": 5, "less": {"file_path": 3}}
    raw = json.dumps(entries, indent=2).encode()
    values = [value for batch in index.members(reader(raw), len(raw)) for value in batch.values]
    assert isinstance(values[0], IndexMember)
    more, number, less = values[1:]
    assert isinstance(more, Odd)
    assert more.file_path == MEMBER["file_path"]
    assert "extra" in more.why
    assert isinstance(number, Odd)
    assert number.file_path is None
    assert isinstance(less, Odd)
    assert less.file_path is None


def test_an_index_of_nothing_has_no_members() -> None:
    assert keys_of(b"{}") == keys_of(b"{\n}") == []
