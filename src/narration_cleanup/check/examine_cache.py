"""Examines a folder: whether it is a cache of generated audio, and how it is laid out."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from narration_cleanup.check.examine_index import (
    INDEX_NAME,
    MOST_INDEX,
    OtherIndex,
    read_index,
)
from narration_cleanup.core.errors import ConfigError
from narration_cleanup.core.text import printable
from narration_cleanup.report.format import count, entries
from narration_cleanup.settings import BY_NAME
from narration_cleanup.settings.known_programs import PROGRAMS
from narration_cleanup.stores.cache.local.directory import OWN_FOLDER
from narration_cleanup.stores.cache.paths import folder_of, with_slashes

Examined = tuple[dict[str, object], list[str], list[str]]
"""Settings by dotted name, what is sure, what is not."""

_AUDIO = (".mp3", ".wav", ".ogg", ".opus", ".m4a", ".flac", ".webm", ".aac", ".mp4")
_SIDECARS = (".json", ".vtt", ".srt", ".txt", ".pho")
_MOST_FILES = 20_000
_SAMPLE = 40
_GENERATED = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-|[0-9a-f]*[0-9][0-9a-f]{7,}|^tmp\w{6,}$|^tts_[0-9]+$",
    re.IGNORECASE,
)
"""In the stems that programs give: a UUID, a digest, an epoch, a temporary name, a counter."""
_CALENDAR = re.compile(
    r"(?<![0-9a-f])20[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])(?![0-9a-f])", re.IGNORECASE
)
"""A day in the stems that cameras, recorders and messengers give: ``VID_20260131_101500``."""
_NUMBERED = re.compile(
    r"(?:^|[^a-z])(?:chapter|chap|ch|part|chunk|segment|seg|sentence|section|paragraph|page|track)"
    r"[ _.-]*[0-9]{1,5}(?![0-9a-f])|^[0-9]{1,5}$",
    re.IGNORECASE,
)
"""In the stems of the parts that one job makes: ``book_chapter_3``, ``007``."""
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_USERS = re.compile("OwnFile_|Hailing_")
"""What begins the names of the files that a user puts beside what TTS-Ultimate generates."""
_CHECKOUT = frozenset((".git", ".hg", ".svn"))
_TAGS = re.compile(rb"TALB|TRCK|\xa9alb|ALBUM=|TRACKNUMBER=", re.IGNORECASE)


@dataclass(slots=True)
class _Found:
    """Files below a folder, by their names below it; ``cut``: there are more than were counted.

    ``checkout``: a working copy of a version control system.
    """

    audio: list[PurePosixPath] = field(default_factory=list)
    others: list[PurePosixPath] = field(default_factory=list)
    cut: bool = False
    checkout: PurePosixPath | None = None

    @property
    def suffixes(self) -> set[str]:
        return {path.suffix.lower() for path in self.audio}

    @property
    def beside(self) -> set[str]:
        """What the sidecars of the audio may be called, without their last suffix."""
        return {str(each) for path in self.audio for each in (path, path.with_suffix(""))}


def examine_cache(directory: str) -> Examined:
    """Settings for the cache in ``directory``; raises ``ConfigError`` where it is none."""
    if "://" in directory:
        raise ConfigError(f"{printable(directory)}: only a folder can be examined, not a bucket")
    folder = Path(directory).absolute()
    where = printable(folder)
    if not folder.is_dir():
        raise ConfigError(f"{where} is no folder that can be examined: name that of the audio")
    try:
        found = _walk(folder)
    except OSError as error:
        raise ConfigError(f"{where} cannot be read: {error.strerror}") from None
    settings: dict[str, object] = {"cache.dir": str(folder)}
    for index in _json_files(folder, found):
        read = read_index(index, found.audio)
        if read and index.parent != folder:
            raise ConfigError(
                f"{where} is no cache: {printable(index)} is the index of audio below it. Name the "
                "folder of that index"
            )
        if read:
            settings["cache.index"] = index.name
            settings.update(_suffixes(found))
            settings.update(read.settings)
            sure, unsure = _indexed(folder, index.name, read, settings)
            return settings, sure, unsure
    if not found.audio:
        total = count(len(found.others), "file", "files")
        what = f"it has {total}, none of them audio" if found.others else "there is nothing in it"
        raise ConfigError(f"{where} is no cache of audio: {what}")
    return _unindexed(folder, found, settings)


def _unindexed(folder: Path, found: _Found, settings: dict[str, object]) -> Examined:
    if (file := _other_index(folder, found)) is not None:
        raise ConfigError(
            f"{printable(file)} lists the audio of this folder, in a form that cannot be cleaned: "
            "without its entries the program would miss what is removed"
        )
    users = [path for path in found.audio if _USERS.match(path.name)]
    found.audio = [path for path in found.audio if not _USERS.match(path.name)]
    if not found.audio:
        raise ConfigError(f"{printable(folder)} is no cache of audio: all of it is the user's own")
    _refuse_no_cache(folder, found)
    settings["cache.index"] = "none"
    if users:
        settings["cache.keep"] = PROGRAMS["tts-ultimate"].settings["cache.keep"]
    settings.update(_suffixes(found))
    days = {path.parts[0] for path in found.audio if len(path.parts) > 1}
    if days and all(map(_DAY.fullmatch, days)):
        settings["cache.remove_empty_dirs"] = True
    more = "more than " if found.cut else ""
    sure = [
        f"no index: {more}{count(len(found.audio), 'audio file', 'audio files')} "
        f"({', '.join(sorted(found.suffixes))}), aged by their modification times"
    ]
    if users:
        files = count(len(users), "file of the user's own", "files of the user's own")
        sure.append(f"{files} (OwnFile_*, Hailing_*): kept")
    doubt = (
        "whether a program makes all of this audio anew: a run deletes old audio for good, also "
        "podcasts, recordings and music that have such names; what is yours belongs in keep"
    )
    if named := _named_by_people(found.audio):
        doubt += f", such as {printable(str(named[0]))}, which is named as people do"
    return settings, sure, [doubt]


def unused_index(folder: Path) -> tuple[Path, OtherIndex | None] | None:
    """The index of a folder that is cleaned without one, and its form if it is known.

    ``None`` where there is none, or the folder cannot be read.
    """
    try:
        found = _walk(folder)
        for index in _json_files(folder, found):
            if read := read_index(index, found.audio):
                return index, read
        other = _other_index(folder, found)
    except (ConfigError, OSError):
        return None
    return None if other is None else (other, None)


def parts_of_a_job(folder: Path) -> str | None:
    """Why the audio of a folder without an index is the work of one job, not a cache."""
    try:
        return _parts(_walk(folder))
    except OSError:
        return None


def _parts(found: _Found) -> str | None:
    numbered = [path for path in found.audio if _NUMBERED.search(path.stem)]
    if 2 * len(numbered) <= len(found.audio):
        return None
    return (
        f"{len(numbered):,} of {count(len(found.audio), 'audio file', 'audio files')} are numbered "
        f"parts, such as {printable(str(numbered[0]))}: they are the result of one job (an audio "
        "book, say), which no program makes anew by itself"
    )


def _walk(folder: Path) -> _Found:
    found, seen = _Found(), 0

    def failed(error: OSError) -> None:
        if error.filename == str(folder):
            raise error

    for root, folders, names in os.walk(folder, onerror=failed):
        below = PurePosixPath(root).relative_to(folder)
        if found.checkout is None and not _CHECKOUT.isdisjoint((*folders, *names)):
            found.checkout = below
        folders[:] = sorted(name for name in folders if name not in (OWN_FOLDER, *_CHECKOUT))
        for name in sorted(names):
            path = below / name
            if path.suffix.lower() in _AUDIO:  # hidden or not, as a run takes it
                found.audio.append(path)
            elif any(part.startswith(".") for part in path.parts):
                continue
            else:
                found.others.append(path)
            seen += 1
            if seen == _MOST_FILES:
                found.cut = True
                return found
    return found


def _json_files(folder: Path, found: _Found) -> Iterator[Path]:
    """Files that may be an index of this tool's own form: at the top, the usual name first, and
    then those below it that are called index or cache."""
    beside = found.beside
    paths = [
        path
        for path in found.others
        if path.suffix == ".json"
        and (len(path.parts) == 1 or INDEX_NAME.search(path.name))
        and str(path.with_suffix("")) not in beside
    ]
    usual = str(BY_NAME["cache.index"].default)
    for path in sorted(paths, key=lambda path: (len(path.parts), path.name != usual)):
        yield folder / path


def _indexed(
    folder: Path, index: str, read: OtherIndex, settings: dict[str, object]
) -> tuple[list[str], list[str]]:
    """What is sure and what is not; adds the folder's other names in the index to ``settings``."""
    folders, present = Counter[str](), Counter[str]()
    for path in read.paths:
        above = folder_of(path)
        folders[above] += 1
        present[above] += (folder / with_slashes(path).rpartition("/")[2]).is_file()
    sure = [f"index {printable(index)}: {count(len(read.paths), 'entry', 'entries')}", *read.sure]
    unsure = [*read.unsure]
    known = {above for above in folders if _is_this(folder, above)}
    others = sorted(above for above in folders if above not in known and present[above])
    if others:
        settings["cache.dir_in_index"] = others
    for above in others:
        line = (
            f"the index calls this folder {printable(above)}: {present[above]:,} of "
            f"{count(folders[above], 'entry has its', 'entries have their')} file here"
        )
        (sure if 2 * present[above] > folders[above] else unsure).append(line)
    missing = folders.total() - present.total()
    if 2 * missing > folders.total():
        unsure.append(
            f"{missing:,} of {entries(folders.total())} without a file here: is this the folder "
            "that the service writes to?"
        )
    return sure, unsure


def _is_this(folder: Path, named: str) -> bool:
    """Whether the folder of a path in the index is found without a setting."""
    parts = PurePosixPath(named).parts
    if named.startswith("/"):
        return os.path.realpath(named) == os.path.realpath(folder)
    return folder.parts[len(folder.parts) - len(parts) :] == parts


def _suffixes(found: _Found) -> dict[str, object]:
    default = BY_NAME["cache.audio_suffixes"].default
    assert isinstance(default, tuple)
    more = sorted(found.suffixes - set(default))
    return {"cache.audio_suffixes": [*default, *more]} if more else {}


def _other_index(folder: Path, found: _Found) -> Path | None:
    """The file at the top that names most of the audio."""
    stems = [path.stem.encode() for path in found.audio[:_SAMPLE]]
    beside = found.beside
    for path in found.others:
        file = folder / path
        if len(path.parts) > 1 or str(path.with_suffix("")) in beside or path.suffix == ".log":
            continue
        try:
            if not file.is_file() or file.stat().st_size > MOST_INDEX:
                continue
            content = file.read_bytes()
        except OSError:
            continue
        if stems and 2 * sum(stem in content for stem in stems) > len(stems):
            return file
    return None


def _refuse_no_cache(folder: Path, found: _Found) -> None:
    where = printable(folder)
    if found.checkout is not None:
        raise ConfigError(
            f"{where} is no cache: {printable(folder / found.checkout)} is a working copy of a "
            "version control system. Name the folder that holds generated audio alone"
        )
    if why := _parts(found):
        raise ConfigError(f"{where} is no cache: {why}")
    beside = found.beside
    sidecars = [
        path
        for path in found.others
        if path.suffix.lower() in _SIDECARS and str(path.with_suffix("")) in beside
    ]
    strangers = len(found.others) - len(sidecars)
    if strangers > len(found.audio) + len(sidecars):
        raise ConfigError(
            f"{where} is no cache of audio: {strangers:,} of "
            f"{count(len(found.audio) + len(found.others), 'file', 'files')} in it are something "
            "else. Name the folder that holds the audio alone"
        )
    step = max(1, len(found.audio) // _SAMPLE)
    sample = found.audio[::step][:_SAMPLE]
    named = _named_by_people(sample)
    tagged = [path for path in sample if _is_tagged(folder / path)]
    for chosen, what in ((named, "is named as people do"), (tagged, "has an album in its tags")):
        if 4 * len(chosen) > len(sample):
            raise ConfigError(
                f"{where} looks like a collection, not like a cache: much of its audio "
                f"{what}, such as {printable(str(chosen[0]))}. Nothing here would be made anew. If "
                "it is a cache all the same, set cache.dir and cache.index by hand"
            )


def _named_by_people(audio: Sequence[PurePosixPath]) -> list[PurePosixPath]:
    return [path for path in audio if not _GENERATED.search(_CALENDAR.sub("", path.stem))]


def _is_tagged(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return _TAGS.search(stream.read(4096)) is not None
    except OSError:
        return False
