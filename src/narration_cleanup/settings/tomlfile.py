"""Find and read the TOML configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from narration_cleanup.core.errors import ConfigError
from narration_cleanup.core.text import printable
from narration_cleanup.settings.sources import FILE_VARIABLE, default_files, expand


def find_file(named: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The configuration file that applies, absolute, or `None` where there is none.

    Raises `ConfigError` for a file that was asked for, by flag or variable, and is not there.
    """
    for source, given in (
        ("flag --config", None if named is None else str(named)),
        (f"variable {FILE_VARIABLE}", environ.get(FILE_VARIABLE)),
    ):
        if given:
            file = Path(expand(given, environ)).absolute()
            if not _is_there(file):
                raise ConfigError(f"{source}: there is no file {printable(file)}")
            return file
    return next((file for file in default_files(environ) if _is_there(file)), None)


def _is_there(file: Path) -> bool:
    try:
        file.stat()
    except OSError:  # missing, or in a folder that is closed to us (ProtectHome=yes)
        return False
    return True


def read_toml(file: Path) -> dict[str, object]:
    """The file's tables; raises `ConfigError` saying what is wrong, and in which line."""
    import tomllib

    try:
        # With a last line end, so that a fault in the last line is told by its number.
        return tomllib.loads(file.read_bytes().decode("utf-8-sig") + "\n")
    except OSError as error:
        raise ConfigError(f"file {printable(file)}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"file {printable(file)}: not UTF-8 text (byte {error.start})") from error
    except ValueError as error:
        raise ConfigError(f"file {printable(file)}: not TOML: {printable(error)}") from error
    except RecursionError as error:
        raise ConfigError(f"file {printable(file)}: nested too deep") from error
