"""What the tests of the settings share: loading from one source, and what a load said."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import pytest

from narration_cleanup.core.errors import ConfigError
from narration_cleanup.settings import Settings, load_settings

HOME = {"HOME": "/home/nobody-here"}


def harmless(line: str) -> bool:
    """Whether a line holds nothing that would break it or turn it round for a reader."""
    return not {unicodedata.category(each) for each in line} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


def load(
    toml: str | None = None,
    *,
    at: Path | None = None,
    variables: Mapping[str, str] | None = None,
    flags: Mapping[str, object | None] | None = None,
) -> Settings:
    """Settings from TOML text (written to the folder `at`), variables and flags alone."""
    file = Path(os.devnull)  # and not what this machine happens to have in /etc
    if toml is not None:
        assert at is not None
        file = at / "config.toml"
        file.write_text(toml, "utf-8")
    return load_settings(flags=flags or {}, config_file=file, environ={**HOME, **(variables or {})})


def faults_of(
    toml: str | None = None,
    *,
    at: Path | None = None,
    variables: Mapping[str, str] | None = None,
    flags: Mapping[str, object | None] | None = None,
) -> tuple[str, ...]:
    """The faults of what cannot be loaded; each is one printable line."""
    with pytest.raises(ConfigError) as caught:
        load(toml, at=at, variables=variables, flags=flags)
    assert caught.value.exit_code == 78
    assert all(map(harmless, caught.value.faults))
    return caught.value.faults
