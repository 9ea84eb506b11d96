"""The names in a cache without an index: audio, its sidecars, and what was left of either."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from narration_cleanup.stores.cache.paths import PARTIAL_SUFFIXES, SIDECAR_SUFFIXES, stem_of

LARGEST_SIDECAR = 1 << 20
"""Bytes; a file of more is not the text of one narration."""
_MOST_FORMS = 1_000
_ID = re.compile(
    r"(?P<uuid>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})|(?<![a-z0-9])(?P<tmp>tmp)\w{6,}"
    r"|(?P<hex>(?=[a-f]*[0-9])[0-9a-f]{8,})|(?P<number>[0-9]{6,})",
    re.IGNORECASE | re.ASCII,
)
"""What a program makes up for a name: a UUID, a temporary name, a digest, an epoch."""


class Names:
    """Which names are audio or sidecars, in any case, and how their suffixes are spelled here.

    ``sidecars`` are the suffixes that were met: of others no sidecar is looked for.
    """

    def __init__(self, audio_suffixes: Iterable[str]) -> None:
        self._audio = tuple(suffix.lower() for suffix in audio_suffixes)
        self.audio = list(self._audio)
        self.sidecars: list[str] = []
        names = "|".join(re.escape(suffix) for suffix in self._audio)
        self._named = re.compile(rf'([^"/\\\s]+)(?:{names})\b', re.IGNORECASE).findall

    def is_audio(self, name: str) -> bool:
        """Whether ``name`` ends as audio does."""
        return name.lower().endswith(self._audio)

    def is_sidecar(self, name: str) -> bool:
        """Whether ``name`` ends as a sidecar does."""
        return name.lower().endswith(SIDECAR_SUFFIXES)

    def is_partial(self, name: str) -> bool:
        """Whether ``name`` is that of audio not yet complete: ``x.mp3.part``."""
        base, _, suffix = name.rpartition(".")
        return f".{suffix}".lower() in PARTIAL_SUFFIXES and self.is_audio(base)

    def note(self, names: Iterable[str]) -> None:
        """Take note of how the suffixes of ``names`` are spelled."""
        for suffix in {name[name.rfind(".") :] for name in names}:
            for lower, known in ((self._audio, self.audio), (SIDECAR_SUFFIXES, self.sidecars)):
                if suffix not in known and suffix.lower() in lower:
                    known.append(suffix)

    @property
    def spellings(self) -> int:
        """How many are known: a name may have been missed before one was."""
        return len(self.audio) + len(self.sidecars)

    def sidecars_of(self, audio: str) -> Iterator[str]:
        """The names that sidecars of ``audio`` alone may have, and then those of its stem."""
        for base in (audio, stem_of(audio)):
            yield from (base + suffix for suffix in self.sidecars)

    def audio_of(self, sidecar: str) -> Iterator[str]:
        """The names that the audio of a sidecar may have; none for what is no sidecar."""
        if self.is_sidecar(sidecar):
            base = stem_of(sidecar)
            if self.is_audio(base):
                yield base
            yield from (base + suffix for suffix in self.audio)

    def lists_audio(self, content: bytes, sidecar: str) -> bool:
        """Whether the content of a file is that of an index rather than of a sidecar: it names
        other audio than its own, or holds entries."""
        base = stem_of(sidecar)
        if not {base, stem_of(base)}.issuperset(self._named(content.decode(errors="replace"))):
            return True
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            return False
        values = [*document.values()] if isinstance(document, dict) else document
        return (
            isinstance(values, list) and bool(values) and all(isinstance(v, dict) for v in values)
        )


class NameForms:
    """The forms of the audio's names in each folder, such as 64 hexadecimal digits.

    A sidecar without audio is one only if its name has such a form: a name that people give has
    none, and neither has an index.
    """

    def __init__(self) -> None:
        self._forms: dict[str, set[str]] = {}

    def add(self, folder: str, audio: str) -> None:
        """Take note of the form of a name in a folder."""
        forms = self._forms.setdefault(folder, set())
        if len(forms) < _MOST_FORMS and (form := _form(stem_of(audio))):
            forms.add(form)

    def has(self, folder: str, names: Names, sidecar: str) -> bool:
        """Whether a sidecar's name has one of the forms of its folder."""
        base = stem_of(sidecar)
        return _form(stem_of(base) if names.is_audio(base) else base) in self._forms.get(folder, ())


def _form(stem: str) -> str:
    """The form of a stem; empty where a program has made up no part of it."""
    form, count = _ID.subn(lambda found: f"<{found.lastgroup} {len(found[0])}>", stem)
    return form if count else ""
