"""What an index calls a file, reduced to a name inside the cache directory, or to none."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

PARTIAL_SUFFIXES = (".part", ".tmp")
"""Of audio that is being written, behind the audio's own."""
SIDECAR_SUFFIXES = (".json", ".vtt", ".srt", ".txt", ".pho")
"""What belongs to audio of the same name or stem: its subtitles, its text, its phonemes."""
MOST_ASKED = 8
"""Absolute folders that the file system is asked about: an index may name any number of them."""
_MOST_REMEMBERED = 10_000


class Named(Protocol):
    """Where a cache is: its path as given, and its real one; and whether a file is in it.

    ``is_also``: whether another absolute path leads to it.
    """

    def names(self) -> tuple[str, str]: ...

    def holds(self, name: str) -> bool: ...

    def is_also(self, folder: str) -> bool: ...


def with_slashes(path: str) -> str:
    """A path with each backslash as a separator."""
    return path.replace("\\", "/")


def folder_of(path: str) -> str:
    """The folder of a path, written with slashes; empty where it has none."""
    return with_slashes(path).rpartition("/")[0]


def names_meant(file_path: str | None, suffixes: tuple[str, ...]) -> list[str]:
    """Names in the cache that a path that is not in it may mean, the likeliest first; none where
    that is not known.

    A relative path that names no audio means the file of that name; one without a suffix may
    leave that out.
    """
    if file_path is None or "\0" in file_path:
        return []
    paths = (with_slashes(file_path), file_path)
    plain = [path.rpartition("/")[2] for path in paths]
    names = dict.fromkeys((*plain, *map(unquoted, plain)))
    audio = [name for name in names if name.endswith(suffixes)]
    is_plain = not file_path.startswith(("/", "\\")) and "://" not in file_path
    if audio or not is_plain or names.keys() & {"", ".", ".."}:
        return audio
    return [*names, *(name + suffix for name in names if "." not in name for suffix in suffixes)]


def unquoted(name: str) -> str:
    """The last part of what a percent-encoded name means; any other name as it is."""
    if "%" not in name:
        return name
    from urllib.parse import unquote

    meant = unquote(name, errors="surrogateescape").rpartition("/")[2]
    return name if "\0" in meant else meant


class PathResolver:
    """Knows the ways in which an index may name the cache directory.

    The service writes paths that are absolute, or relative to its own working directory, which
    is not recorded: a relative folder is accepted when the directory's own path ends with it.
    On Windows it separates folders by backslashes, which here may also be part of a file's name.
    """

    def __init__(
        self,
        directory: Named,
        audio_suffixes: tuple[str, ...],
        dir_in_index: Sequence[str] = (),
    ) -> None:
        """``dir_in_index`` are other names of the directory, as a container or a share has it."""
        self._directory = directory
        self._asked = 0
        own = {_plain(path) for path in directory.names()}
        self._known_names = own.union(map(_plain, dir_in_index))
        self._parts = [path.split("/") for path in own]
        self._suffixes = audio_suffixes
        self._known: dict[str, bool] = {"": True}

    def name_of(self, file_path: str) -> str | None:
        """The name inside the directory; ``None`` where the path leaves it or names no audio.

        A backslash is a separator, unless a file of that literal name is there.
        """
        return self._in_any_spelling(file_path, self._suffixes)

    def file_of(self, path: str) -> str | None:
        """The same for a file of any suffix."""
        return self._in_any_spelling(path, ("",))

    def below(self, path: str) -> str | None:
        """The name of a file below the directory; ``None`` where it can be none."""
        plain = _plain(path)
        for folder in self._known_names:
            plain = plain.removeprefix(f"{folder}/")
        return None if plain.startswith("/") or ".." in plain.split("/") else plain

    def _in_any_spelling(self, file_path: str, suffixes: tuple[str, ...]) -> str | None:
        if "\\" in file_path:
            literal = self._name_of(file_path, suffixes)
            if literal and ("\\" not in literal or self._directory.holds(literal)):
                return literal
            file_path = with_slashes(file_path)
        return self._name_of(file_path, suffixes)

    def _name_of(self, file_path: str, suffixes: tuple[str, ...]) -> str | None:
        folder, slash, name = file_path.rpartition("/")
        if slash and not folder:
            return None
        here = self._known.get(folder)
        if here is None:
            here = self._is_this(folder)
            if len(self._known) < _MOST_REMEMBERED:
                self._known[folder] = here
        if not here or not name.endswith(suffixes) or "\0" in name:
            return None
        return name

    def names_of(self, file_paths: Sequence[str]) -> list[str | None]:
        """``name_of`` of each; quick where they lie in the same folder, as they mostly do."""
        name_of, suffixes = self.name_of, self._suffixes
        if not file_paths or name_of(file_paths[0]) is None:
            return [name_of(path) for path in file_paths]
        prefix = file_paths[0][: file_paths[0].rfind("/") + 1]
        cut = len(prefix)
        return [
            name
            if path.startswith(prefix)
            and "/" not in (name := path[cut:])
            and "\\" not in name
            and name.endswith(suffixes)
            and "\0" not in name
            else name_of(path)
            for path in file_paths
        ]

    def _is_this(self, folder: str) -> bool:
        plain = _plain(folder)
        if plain in self._known_names:
            return True
        if not plain.startswith("/"):
            parts = plain.split("/") if plain else []
            return any(own[-len(parts) :] == parts for own in self._parts) if parts else True
        if self._asked == MOST_ASKED:
            return False
        self._asked += 1
        return self._directory.is_also(folder)


def _plain(folder: str) -> str:
    """A folder's path without what means nothing; ``..`` is kept, since links decide what it is."""
    plain = "/".join(part for part in with_slashes(folder).split("/") if part not in ("", "."))
    return f"/{plain}" if folder.startswith(("/", "\\")) else plain


def other_spellings(
    names: set[str], listed: Callable[[Callable[[str], bool]], Iterator[str]]
) -> dict[str, str]:
    """How the directory lists the files of ``names``, which it finds though it does not list them.

    By name. ``listed(wanted)`` lists the names that ``wanted`` picks. Inodes are not compared:
    exFAT by FUSE gives each spelling another one.
    """
    folded = {_folded(name) for name in names}
    found = list(listed(lambda name: _folded(name) in folded))
    by_folded = {_folded(name): name for name in found}
    others = names.difference(found)  # what is listed after all has come meanwhile
    return {name: by_folded[_folded(name)] for name in others if _folded(name) in by_folded}


def _folded(name: str) -> str:
    return unicodedata.normalize("NFD", name).casefold()


def surely_named(names: set[str]) -> set[str]:
    """Those of ``names`` that are the same in the index and on the disk. Where the locale is not in
    UTF-8, and a service's may be, one name of both may be read as two."""
    if sys.getfilesystemencoding() == "utf-8":
        return names
    return set(filter(str.isascii, names))


def stem_of(name: str) -> str:
    """A name without its last suffix."""
    return name.rpartition(".")[0]
