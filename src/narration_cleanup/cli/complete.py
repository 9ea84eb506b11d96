"""What completion offers for values: runs by number, instances, voice styles.

Called while somebody types: quick, silent, and nothing at all after any error.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from narration_cleanup.settings import Settings

Offers = list[tuple[str, str]]
"""Words to choose from, each with what it is."""

MOST_RUNS = 50
"""Runs offered, the newest: more than anybody reads through."""

MOST_ENTRIES = 20_000
"""Entries looked through for voice styles: a tenth of a second, and all there are by then."""

_PLAIN = re.compile(r"[A-Za-z0-9_.:@%+=/-]+")
"""Words that mean nothing else to any shell: a shell puts what is offered into the line as it is,
and names in the cache are others' to choose."""
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_.:@%+=/ ,-]")
_INSTANCE = re.compile(r"([A-Za-z0-9_.-]+)\.toml")


def offered(
    find: Callable[[typer.Context], Iterator[tuple[str, str]]],
) -> Callable[[typer.Context, str], Offers]:
    """What completion calls: of what ``find`` yields, the plain words that begin as typed."""

    def offers(context: typer.Context, incomplete: str) -> Offers:
        try:
            return [
                (word, _NOT_PLAIN.sub("?", what))
                for word, what in find(context)
                if word.startswith(incomplete) and _PLAIN.fullmatch(word)
            ]
        except Exception:  # an error message would spoil the line being typed
            return []

    return offers


@offered
def runs(context: typer.Context) -> Iterator[tuple[str, str]]:
    """The numbers of the newest runs in the history, with when each began and how it ended."""
    from datetime import datetime

    from narration_cleanup.report.history import read_history

    settings = _settings(context, {})
    history = read_history(settings.cleanup.state_dir, warn=lambda _: None)
    if history is None:
        return
    for run in history.runs(MOST_RUNS):
        began = datetime.fromtimestamp(run.started_at).strftime("%Y-%m-%d %H:%M")
        yield str(run.id), f"{began}, {run.outcome or 'running'}"
    history.close()


@offered
def outcomes(_: typer.Context) -> Iterator[tuple[str, str]]:
    """The ways in which a run can have ended."""
    from narration_cleanup.report.run_record import ENDINGS

    return ((name, f"Runs that ended as {name}") for name in ENDINGS)


@offered
def instances(_: typer.Context) -> Iterator[tuple[str, str]]:
    """The instances that have a configuration file in /etc/narration-cleanup."""
    from narration_cleanup.settings.sources import CONFIG_DIR

    for file in sorted(os.listdir(CONFIG_DIR)):
        found = _INSTANCE.fullmatch(file)
        if found and file != "config.toml":
            yield found[1], str(CONFIG_DIR / file)


@offered
def voice_styles(context: typer.Context) -> Iterator[tuple[str, str]]:
    """The voice styles of the entries in the cache."""
    from narration_cleanup.core.zones import IndexTimes
    from narration_cleanup.run.stores import open_cache

    settings = _settings(context, {"cache.dir": context.params.get("cache_dir")})
    store = open_cache(settings.cache, IndexTimes(settings.cleanup.timezone))
    if store is None:
        return
    counts = Counter[str]()
    with store.survey() as survey:
        for batch in survey.batches():
            counts.update(entry.voice_style for entry in batch.entries)
            if counts.total() >= MOST_ENTRIES:
                break
    store.close()
    for name, count in sorted(counts.items()):
        yield name, f"{count} entries"


def _settings(context: typer.Context, flags: dict[str, object]) -> Settings:
    from narration_cleanup.settings import load_partial

    named = context.find_root().params.get("config")
    config_file = named if isinstance(named, Path) else None
    return load_partial(flags=flags, config_file=config_file, environ=os.environ)[0]
