"""Properties of the table of settings: texts load again, and input that is at worst refused."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narration_cleanup.core.errors import ConfigError
from narration_cleanup.settings import SETTINGS, Settings, load_settings
from narration_cleanup.settings.show import init_text, show_lines, toml, without_password
from tests.settings_help import harmless

NOTHING = Path(os.devnull)
ENVIRON = {"HOME": "/h", "STATE_DIRECTORY": "/s"}
DEFAULTS = load_settings(flags={}, config_file=NOTHING, environ=ENVIRON)
TEMPLATE = init_text().splitlines()
ASSIGNMENTS = [line for line in TEMPLATE if re.match(r"#\w", line)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples of a property."""
    return tmp_path_factory.mktemp("settings")


def load_text(folder: Path, text: str) -> Settings:
    file = folder / "config.toml"
    file.write_text(text, "utf-8")
    return load_settings(flags={}, config_file=file, environ=ENVIRON)


def values(settings: Settings) -> dict[str, object]:
    found = {setting.name: settings.value(setting.name) for setting in SETTINGS}
    return {
        name: dict(value) if isinstance(value, Mapping) else value for name, value in found.items()
    }


def test_the_template_has_every_setting_once_and_no_long_line() -> None:
    assert [line[1:].split(" = ")[0] for line in ASSIGNMENTS] == [each.key for each in SETTINGS]
    assert all(len(line) < 100 for line in TEMPLATE)
    assert all(line.isprintable() for line in TEMPLATE)


@given(live=st.sets(st.sampled_from(ASSIGNMENTS)), drop=st.booleans())
def test_the_template_loads_to_the_defaults_whatever_is_uncommented(
    folder: Path, live: set[str], drop: bool
) -> None:
    lines = [line[1:] if line in live else line for line in TEMPLATE]
    kept = [line for line in lines if not (drop and line.startswith("#"))]
    settings = load_text(folder, "\n".join(kept))
    assert values(settings) == values(DEFAULTS)
    assert settings.warnings == ()


def test_the_template_whole_in_force_loads_to_the_defaults(tmp_path: Path) -> None:
    lines = [line[1:] if line in ASSIGNMENTS else line for line in TEMPLATE]
    settings = load_text(tmp_path, "\n".join(lines))
    assert values(settings) == values(DEFAULTS)
    assert {settings.origin(each.name).source for each in SETTINGS} == {"file"}


# Text that a variable, a list or a path could stumble over: separators, quotes, escapes, other
# alphabets, and the words with a meaning of their own. NUL is refused, so it is left out.
TEXT = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12
).filter(str.strip) | st.sampled_from(
    ["none", "auto", "a,b", "'q'", '"', "\\", "#", "=", "é", "\u202e", "\x7f"]
)
NAME = TEXT.filter(lambda text: text != "none")


@given(
    keep=st.lists(TEXT),
    ttl=st.floats(0, 365_000, exclude_min=True),
    voices=st.dictionaries(TEXT, st.floats(0, 365_000, exclude_min=True), max_size=4),
    queued=st.lists(
        st.integers(-(2**62), 2**62) | TEXT.map("q".__add__), min_size=1, max_size=3, unique=True
    ),
    # What looks like a place with a password is not shown as it is, whatever setting it is of.
    column=NAME.map("c".__add__).filter(lambda text: without_password(text) == text),
    folder_name=TEXT.filter(lambda text: "://" not in text and "/" not in text),
    limit=st.integers(0, 2**53) | st.floats(0, 100).map(lambda share: f"{share:.15g}%"),
    switch=st.booleans(),
)
def test_what_config_show_prints_loads_to_the_same(
    folder: Path,
    keep: list[str],
    ttl: float,
    voices: dict[str, float],
    queued: list[str | int],
    column: str,
    folder_name: str,
    limit: int | str,
    switch: bool,
) -> None:
    given_values: dict[str, object] = {
        "cache.dir": f"/{folder_name}",
        "cache.keep": tuple(keep),
        "cache.ttl_days": ttl,
        "cache.ttl_days_by_voice_style": voices,
        "cache.remove_orphans": switch,
        "requests.statuses.queued": tuple(queued),
        "requests.filter": {column: [None, *queued]},
        "requests.columns.heartbeat_at": column,
        "cleanup.max_delete": limit,
    }
    settings = load_settings(flags=given_values, config_file=NOTHING, environ=ENVIRON)
    lines = list(show_lines(settings))
    assert all(map(harmless, lines))
    assert values(load_text(folder, "\n".join(lines))) == values(settings)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXT
    | st.sampled_from(["10%", "true", "1,2", "a=1", "s3://x", "https://h", "postgresql://u:p@h"])
)
VALUES = st.recursive(
    SCALARS.filter(lambda value: value is not None),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


def faults(
    flags: Mapping[str, object] = MappingProxyType({}),
    environ: Mapping[str, str] = MappingProxyType(ENVIRON),
    file: Path | None = None,
) -> tuple[str, ...]:
    """What is wrong with these sources; anything but a `ConfigError` fails the test."""
    try:
        load_settings(flags=flags, config_file=file or NOTHING, environ=environ)
    except ConfigError as error:
        return error.faults or ("a refusal without a reason\n",)
    return ()


@given(st.dictionaries(st.sampled_from([each.name for each in SETTINGS]), VALUES, max_size=6))
def test_any_value_from_any_source_is_taken_or_refused_in_one_line(
    given_values: dict[str, object],
) -> None:
    variables = {
        each.env: str(given_values[each.name]) for each in SETTINGS if each.name in given_values
    }
    assert all(map(harmless, faults(flags=given_values)))
    assert all(map(harmless, faults(environ={**ENVIRON, **variables})))


@given(
    st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace"))
)
def test_any_file_is_loaded_or_refused(folder: Path, content: bytes) -> None:
    file = folder / "config.toml"
    file.write_bytes(content)
    assert all(map(harmless, faults(file=file)))


@given(TEXT)
def test_text_is_written_as_toml_reads_it(text: str) -> None:
    assert tomllib.loads(f"a = {toml(text)}") == {"a": text}
