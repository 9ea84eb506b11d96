"""Where settings come from, which source wins, and what each fault says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from narration_cleanup.core.errors import ConfigError
from narration_cleanup.settings import (
    BY_NAME,
    SETTINGS,
    DeleteLimit,
    Settings,
    history_elsewhere,
    load_partial,
    load_settings,
    require_target,
    sources,
)
from narration_cleanup.settings.sources import default_files
from tests.security.conftest import unwaited
from tests.settings_help import HOME, faults_of, load

NOTHING = Path(os.devnull)


def test_defaults_are_those_of_the_service_and_of_the_classes() -> None:
    settings = load(variables={"STATE_DIRECTORY": "/var/lib/x"})
    assert settings.cache.dir is None
    assert (settings.cache.ttl_days, settings.cache.max_size_mb) == (7, 500)
    assert settings.requests.abandoned_timeout_hours == 1
    assert settings.requests.statuses.cancelled == ("cancelled",)
    assert settings.cleanup.state_dir == Path("/var/lib/x")
    plain = Settings()
    assert (settings.cache, settings.requests) == (plain.cache, plain.requests)
    assert settings.warnings == ()


def test_each_source_beats_the_next(tmp_path: Path) -> None:
    """Flag over variable over credential over file over default, each value knowing its source."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "cache.ttl_days").write_text("4\n")
    toml = "[cache]\nttl_days = 3"
    inherited = {"CREDENTIALS_DIRECTORY": str(credentials)}
    variables = {**inherited, "NARRATION_CACHE_TTL_DAYS": "5"}
    seen = [
        load(),
        load(toml, at=tmp_path),
        load(toml, at=tmp_path, variables=inherited),
        load(toml, at=tmp_path, variables=variables),
        load(toml, at=tmp_path, variables=variables, flags={"cache.ttl_days": 6.0}),
        load(toml, at=tmp_path, variables=variables, flags={"cache.ttl_days": None}),
    ]
    assert [each.cache.ttl_days for each in seen] == [7, 3, 4, 5, 6, 5]
    assert [str(each.origin("cache.ttl_days")) for each in seen] == [
        "default",
        f"file {tmp_path / 'config.toml'}",
        "credential cache.ttl_days",
        "variable NARRATION_CACHE_TTL_DAYS",
        "flag --ttl-days",
        "variable NARRATION_CACHE_TTL_DAYS",
    ]


def test_every_setting_has_its_variable_and_its_help() -> None:
    assert BY_NAME["requests.columns.status"].env == "NARRATION_REQUESTS_COLUMNS_STATUS"
    assert len({setting.env for setting in SETTINGS}) == len(SETTINGS) > 45
    for setting in SETTINGS:
        assert setting.help.endswith(".")
        assert "\n" not in setting.help
        assert len(setting.help) < 99
    assert {setting.name for setting in SETTINGS if setting.secret} == {
        "alerts.urls",
        "alerts.ping_url",
    }


# --- the file ---------------------------------------------------------------------------------


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    missing = tmp_path / "no.toml"
    with pytest.raises(
        ConfigError, match=r"^flag --config: there is no file .*/no\.toml, or none that"
    ):
        load_settings(flags={}, config_file=missing, environ=HOME)
    named = {**HOME, "NARRATION_CLEANUP_CONFIG": str(missing)}
    with pytest.raises(ConfigError, match=r"^variable NARRATION_CLEANUP_CONFIG: there is no file"):
        load_settings(flags={}, config_file=None, environ=named)


def test_a_file_is_looked_for_in_the_documented_order(tmp_path: Path) -> None:
    home, system, given = tmp_path / "home", tmp_path / "systemd", tmp_path / "given.toml"
    own = home / ".config/narration-cleanup/config.toml"
    environ = {"HOME": str(home), "CONFIGURATION_DIRECTORY": f"{tmp_path / 'none'}:{system}"}
    assert default_files(environ) == [
        own,
        tmp_path / "none/config.toml",
        system / "config.toml",
        Path("/etc/narration-cleanup/config.toml"),
    ]
    system.mkdir()
    (system / "config.toml").write_text("[cache]\nttl_days = 1")
    assert load_settings(flags={}, config_file=None, environ=environ).cache.ttl_days == 1
    own.parent.mkdir(parents=True)
    own.write_text("[cache]\nttl_days = 2")
    assert load_settings(flags={}, config_file=None, environ=environ).cache.ttl_days == 2
    given.write_text("[cache]\nttl_days = 3")
    environ["NARRATION_CLEANUP_CONFIG"] = "~/../given.toml"
    settings = load_settings(flags={}, config_file=None, environ=environ)
    assert settings.cache.ttl_days == 3
    assert settings.config_file == home / "../given.toml"
    named = load_settings(flags={}, config_file=own, environ=environ)
    assert (named.cache.ttl_days, named.config_file) == (2, own)


def test_no_file_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("narration_cleanup.settings.sources.SYSTEM_FILE", tmp_path / "none.toml")
    settings = load_settings(flags={}, config_file=None, environ=HOME)
    assert settings.config_file is None
    assert {settings.origin(setting.name).source for setting in SETTINGS} == {"default"}


def test_xdg_folders_count_only_when_absolute() -> None:
    assert default_files({**HOME, "XDG_CONFIG_HOME": "/x"})[0] == Path(
        "/x/narration-cleanup/config.toml"
    )
    assert default_files({**HOME, "XDG_CONFIG_HOME": "x"})[0] == Path(
        "/home/nobody-here/.config/narration-cleanup/config.toml"
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[cache]\nttl_days = = 3", "not TOML: Invalid value (at line 2, column 12)"),
        (b"a = 1\na = 2", "not TOML: Cannot overwrite a value (at line 2, column 6)"),
        (b"[cache]\ndir = '\xff'", "not UTF-8 text (byte 15)"),
        (b"a = " + b"[" * 100_000, "nested too deep"),
        (b"a = " + b"1" * 10_000, "not TOML: "),
    ],
)
def test_a_file_that_is_not_toml_says_where(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_settings(flags={}, config_file=file, environ=HOME)
    assert str(caught.value).startswith(f"file {file}: {says}")


def test_a_file_may_begin_with_a_byte_order_mark_and_have_windows_line_ends(
    tmp_path: Path,
) -> None:
    toml = "\ufeff[cache]\r\nttl_days = 3\r\n"
    assert load(toml, at=tmp_path).cache.ttl_days == 3


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no regular file"):
        load_settings(flags={}, config_file=tmp_path, environ=HOME)


# --- names ------------------------------------------------------------------------------------


def test_unknown_names_in_the_file_are_faults_with_the_nearest_known_one(tmp_path: Path) -> None:
    toml = """
        ttl_days = 3
        [cache]
        tl_days = 3
        zzzzzzzzz = 1
        [request]
        [requests.columns]
        stats = "s"
        [cleanup]
        "a\\nb" = 1
    """
    file = f"file {tmp_path / 'config.toml'}: "
    assert faults_of(toml, at=tmp_path) == (
        file + "unknown setting ttl_days, did you mean cache.ttl_days?",
        file + "unknown setting cache.tl_days, did you mean cache.ttl_days?",
        file + "unknown setting cache.zzzzzzzzz",
        file + "unknown section request, did you mean requests?",
        file + "unknown setting requests.columns.stats, did you mean requests.columns.status?",
        file + "unknown setting cleanup.a\\nb",
    )


def test_a_section_must_be_a_table(tmp_path: Path) -> None:
    faults = faults_of("alerts = 'https://canary'", at=tmp_path)
    assert len(faults) == 1
    assert faults[0].endswith("alerts is a value, expected a table [alerts]")


def test_unknown_variables_are_warnings_and_the_services_own_are_none(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.touch()
    settings = load(
        variables={
            "NARRATION_CACHE_TTLDAYS": "3",
            "NARRATION_ALERTS_URL": "https://canary",
            "NARRATION_MAX_CONCURRENT": "2",
            "NARRATION_MAX_CONTENT_LENGTH": "2",
            "NARRATION_CLEANUP_CONFIG": str(file),
        }
    )
    assert settings.warnings == (
        "variable NARRATION_ALERTS_URL is not a setting, did you mean NARRATION_ALERTS_URLS?",
        "variable NARRATION_CACHE_TTLDAYS is not a setting, did you mean NARRATION_CACHE_TTL_DAYS?",
    )


def test_a_flag_that_no_setting_has_is_a_mistake_of_the_program() -> None:
    with pytest.raises(KeyError):
        load(flags={"cache.nothing": None})


# --- credentials ------------------------------------------------------------------------------


def test_credentials_are_named_like_the_setting_or_its_variable(tmp_path: Path) -> None:
    (tmp_path / "alerts.urls").write_text("json://one\n  json://two\n")
    (tmp_path / "NARRATION_REQUESTS_DB").write_text("postgresql://u:pw@h/d\n")
    (tmp_path / "alerts.ping_url").write_text("\n")
    (tmp_path / "alerts.url").write_text("canary")
    (tmp_path / "tls.key").write_text("another's")
    settings = load(variables={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert settings.alerts.urls == ("json://one", "json://two")
    assert settings.requests.db == "postgresql://u:pw@h/d"
    assert settings.alerts.ping_url is None
    assert str(settings.origin("alerts.urls")) == "credential alerts.urls"
    assert settings.warnings == (
        "credential alerts.url is not a setting, did you mean alerts.urls?",
    )


def test_a_credential_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "alerts.urls").write_bytes(b"\xff\xfe")
    (tmp_path / "requests.db").mkdir()
    assert faults_of(variables={"CREDENTIALS_DIRECTORY": str(tmp_path)}) == (
        "credential alerts.urls is not UTF-8 text",
        "credential requests.db: what is there is no regular file",
    )
    gone = tmp_path / "gone"
    assert faults_of(variables={"CREDENTIALS_DIRECTORY": str(gone)}) == (
        f"$CREDENTIALS_DIRECTORY {gone}: No such file or directory",
    )


# --- values -----------------------------------------------------------------------------------


def test_all_faults_are_reported_at_once_each_with_source_value_and_what_is_expected(
    tmp_path: Path,
) -> None:
    toml = "[cache]\nmax_size_mb = true\n[history]\nkeep_runs = 0"
    file = f"file {tmp_path / 'config.toml'}: "
    assert faults_of(
        toml,
        at=tmp_path,
        variables={"NARRATION_CACHE_TTL_DAYS": "nan", "NARRATION_CACHE_AGE_FROM": "ctime"},
        flags={"requests.abandoned_timeout_hours": -1.0},
    ) == (
        file + "cache.max_size_mb is true, expected a number of megabytes above 0",
        file + "history.keep_runs is 0, expected a whole number, 1 or more",
        'variable NARRATION_CACHE_AGE_FROM is "ctime", expected mtime or atime',
        'variable NARRATION_CACHE_TTL_DAYS is "nan", expected a number of days above 0 '
        "(fractions allowed)",
        "flag --abandoned-timeout-hours is -1.0, expected a number of hours above 0 "
        "(fractions allowed)",
    )


def test_what_about_a_value_does_not_fit_is_said() -> None:
    variables = {
        "NARRATION_CACHE_TTL_DAYS": "400000",
        "NARRATION_CACHE_EVICT_TO_PERCENT": "101",
        "NARRATION_CACHE_AUDIO_SUFFIXES": ".mp3 .wav",
        "NARRATION_CACHE_TTL_DAYS_BY_VOICE_STYLE": "a=1,b=0,c=2",
        "NARRATION_HISTORY_KEEP_RUNS": "1000000001",
    }
    told = [fault.partition(", expected ")[2] for fault in faults_of(variables=variables)]
    assert told == [
        'a list of suffixes with their dot, such as ".mp3", ".wav": its item 1 is none',
        "a percentage above 0, at most 100",
        "a number of days above 0 (fractions allowed): at most 365000",
        "a table of days above 0 by voice style, such as eerie_narrator = 30: b has none",
        "a whole number, 1 or more: at most 1000000000",
    ]


def test_a_list_in_brackets_is_no_text_for_a_list() -> None:
    """A variable has the values with commas between them; a list in a file has the brackets."""
    variables = {
        "NARRATION_REQUESTS_STATUSES_QUEUED": '["queued"]',
        "NARRATION_CACHE_KEEP": '["intro-*", "outro-*"]',
    }
    for fault in faults_of(variables=variables):
        assert fault.endswith(": without brackets and quotes here, as in a,b")


def test_one_value_is_a_list_of_one(tmp_path: Path) -> None:
    toml = "[cache]\nkeep = 'intro-*'\n[requests.statuses]\ncancelled = 9\nfailed = 'bad'"
    settings = load(toml, at=tmp_path)
    assert settings.cache.keep == ("intro-*",)
    assert settings.requests.statuses.cancelled == (9,)
    assert settings.requests.statuses.failed == ("bad",)
    for several in ("intro-*,outro-*", '["intro-*"]'):
        (fault,) = faults_of(f"[cache]\nkeep = '{several}'", at=tmp_path)
        assert fault.endswith('expected a list of patterns, such as "intro-*"')


def test_a_filter_without_a_value_would_match_no_row(tmp_path: Path) -> None:
    (fault,) = faults_of("[requests.filter]\nqueue = []", at=tmp_path)
    assert fault.endswith("queue has none, which matches no row")


def test_what_has_no_end_is_no_configuration(tmp_path: Path) -> None:
    """A pipe would be waited for, and a device fills the memory; /dev/null is an empty one."""
    pipe, credential, large = (tmp_path / name for name in ("pipe", "cache.dir", "large"))
    os.mkfifo(pipe)
    os.mkfifo(credential)
    with unwaited(pipe), pytest.raises(ConfigError, match="no regular file"):
        load_settings(flags={}, config_file=pipe, environ=HOME)
    with unwaited(credential):
        assert faults_of(variables={"CREDENTIALS_DIRECTORY": str(tmp_path)}) == (
            "credential cache.dir: what is there is no regular file",
        )
    large.write_text("\n" * (1 << 21))
    with pytest.raises(ConfigError, match="too large"):
        load_settings(flags={}, config_file=large, environ=HOME)
    load_settings(flags={}, config_file=Path("/dev/null"), environ=HOME)


def test_a_wrong_value_is_a_fault_even_where_a_right_one_wins(tmp_path: Path) -> None:
    faults = faults_of("[cache]\nttl_days = 0", at=tmp_path, flags={"cache.ttl_days": 3.0})
    assert len(faults) == 1
    assert "cache.ttl_days is 0, expected" in faults[0]


def test_an_empty_variable_is_no_variable() -> None:
    settings = load(
        variables={"NARRATION_CACHE_TTL_DAYS": "", "NARRATION_CACHE_DIR": "", "STATE_DIRECTORY": ""}
    )
    assert settings.cache.ttl_days == 7
    assert settings.cache.dir is None
    assert str(settings.origin("cache.ttl_days")) == "default"


def test_none_takes_away_what_a_lower_source_gave(tmp_path: Path) -> None:
    toml = "[cache]\nindex = 'none'\n[requests]\ndb = 'a.db'\nqueued_timeout_hours = 3"
    settings = load(toml, at=tmp_path, variables={"NARRATION_REQUESTS_DB": "none"})
    assert settings.cache.index is None
    assert settings.requests.db is None
    assert settings.requests.queued_timeout_hours == 3
    assert "expected a number of days" in faults_of(flags={"cache.ttl_days": "none"})[0]


def test_relative_paths_start_at_the_current_directory_and_a_tilde_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(
        "[cache]\ndir = './cache/../cache'\n[metrics]\ntextfile = '~/x.prom'",
        at=tmp_path,
        variables={"NARRATION_REQUESTS_DB": "~/r.db"},
        flags={"cleanup.state_dir": Path("~/state")},
    )
    assert settings.cache.dir == f"{tmp_path}/cache/../cache"  # a link may stand before the dots
    assert settings.metrics.textfile == Path("/home/nobody-here/x.prom")
    assert settings.requests.db == f"{tmp_path}/~/r.db"  # as the service itself would read it
    assert settings.cleanup.state_dir == Path("/home/nobody-here/state")


def test_the_state_folder_comes_from_systemd_or_the_platform(tmp_path: Path) -> None:
    home = str(tmp_path)

    def found(**variables: str) -> tuple[str, str]:
        settings = load_settings(flags={}, config_file=NOTHING, environ=variables)
        return str(settings.cleanup.state_dir), str(settings.origin("cleanup.state_dir"))

    assert found(STATE_DIRECTORY="/a:/b", HOME=home) == ("/a", "default (variable STATE_DIRECTORY)")
    own = f"{home}/.local/state/narration-cleanup"
    assert found(HOME=home) == (own, "default")
    assert found(HOME="/h", XDG_STATE_HOME=home) == (f"{home}/narration-cleanup", "default")
    assert found(HOME=home, NARRATION_CLEANUP_STATE_DIR="auto")[0] == own
    assert found(HOME="/dev/null")[1] == "default (no folder is known)"


def test_the_state_folder_of_the_units_is_found_by_their_user_and_root_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    units = tmp_path / "units"
    (units / "voices").mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    monkeypatch.setattr(sources, "SYSTEM_STATE", units)
    monkeypatch.setattr(sources, "SYSTEM_FILE", tmp_path / "etc" / "config.toml")

    def found(file: str | None = None, **variables: str) -> tuple[str, str]:
        named = None if file is None else tmp_path / "etc" / file
        if named is not None:
            named.touch()
        settings = load_settings(
            flags={}, config_file=named or NOTHING, environ={"HOME": str(tmp_path), **variables}
        )
        origin = settings.origin("cleanup.state_dir")
        return str(settings.cleanup.state_dir), origin.source

    own = f"{tmp_path}/.local/state/narration-cleanup"
    assert found() == found("config.toml") == (str(units), "default")
    assert found("voices.toml") == (str(units / "voices"), "default")
    assert found("other.toml") == (own, "default")
    assert found(STATE_DIRECTORY="/a") == ("/a", "default")
    assert found(NARRATION_CLEANUP_STATE_DIR="/b") == ("/b", "variable")
    monkeypatch.setattr(os, "geteuid", lambda: units.stat().st_uid + 1)
    assert found() == (own, "default")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert found() == (str(units), "default")
    units.joinpath("voices").rmdir()
    units.rename(tmp_path / "moved")
    units.symlink_to(tmp_path / "moved")
    assert found() == (own, "default")


def test_a_user_who_may_not_read_the_history_of_the_units_hears_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    units, etc = tmp_path / "units", tmp_path / "etc"
    etc.mkdir()
    for name in ("etc/config.toml", "mine.toml"):
        (tmp_path / name).touch()
    monkeypatch.setattr(sources, "SYSTEM_STATE", units)
    for module in ("sources", "load"):
        name = f"narration_cleanup.settings.{module}.SYSTEM_FILE"
        monkeypatch.setattr(name, etc / "config.toml")

    def said(file: Path, **variables: str) -> str:
        environ = {"HOME": str(tmp_path), **variables}
        settings = load_settings(flags={}, config_file=file, environ=environ)
        return history_elsewhere(settings) or ""

    assert said(etc / "config.toml") == ""
    units.mkdir()
    assert said(etc / "config.toml") == ""
    monkeypatch.setattr(os, "geteuid", lambda: units.stat().st_uid + 1)
    found = said(etc / "config.toml")
    assert f"{units}, for {units.owner()} and root (sudo -u {units.owner()})" in found
    assert f"{tmp_path}/.local/state/narration-cleanup has only the runs by hand" in found
    assert said(tmp_path / "mine.toml") == ""
    assert said(etc / "config.toml", NARRATION_CLEANUP_STATE_DIR="/b") == ""


def test_without_any_home_there_is_no_state_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a user that systemd made up and that is in no list of users."""
    monkeypatch.setattr(os.path, "expanduser", lambda text: text)
    told = load_settings(flags={}, config_file=NOTHING, environ={})
    assert not told.cleanup.state_dir.exists()
    told = load_settings(flags={"cleanup.state_dir": "/s"}, config_file=NOTHING, environ={})
    assert told.cleanup.state_dir == Path("/s")


@pytest.mark.parametrize(
    "value",
    ["intro-*,a?", '"intro-*,a?"', "'intro-*, a?'", '"intro-*","a?"', " \"intro-*\" , 'a?'"],
)
def test_quotes_that_an_environment_file_left_are_no_part_of_a_list(value: str) -> None:
    assert load(variables={"NARRATION_CACHE_KEEP": value}).cache.keep == ("intro-*", "a?")


def test_lists_tables_and_limits_read_alike_from_toml_and_variables(tmp_path: Path) -> None:
    from_file = load(
        """
        [cache]
        keep = ["intro-*", "a?"]
        audio_suffixes = [".MP3"]
        [cache.ttl_days_by_voice_style]
        eerie_narrator = 30
        ghostly_whisper = 0.5
        [requests.statuses]
        queued = [0, "7"]
        [requests.filter]
        queue = ["tts", 7, "7"]
        deleted_at = "null"
        is_speech = true
        [cleanup]
        max_delete = "12.5%"
        [alerts]
        urls = ["json://a", "json://b"]
        """,
        at=tmp_path,
    )
    from_variables = load(
        variables={
            "NARRATION_CACHE_KEEP": "intro-*, a?",
            "NARRATION_CACHE_AUDIO_SUFFIXES": ".MP3,",
            "NARRATION_CACHE_TTL_DAYS_BY_VOICE_STYLE": "eerie_narrator=30, ghostly_whisper=0.5",
            "NARRATION_REQUESTS_STATUSES_QUEUED": "0, '7'",
            "NARRATION_REQUESTS_FILTER": "queue=tts, queue=7,queue='7',deleted_at=null,is_speech=1",
            "NARRATION_CLEANUP_MAX_DELETE": "12.5%",
            "NARRATION_ALERTS_URLS": "json://a\njson://b",
        }
    )
    assert from_file.cache == from_variables.cache
    assert from_file.requests == from_variables.requests
    assert from_file.cleanup == from_variables.cleanup
    assert from_file.alerts == from_variables.alerts
    assert from_file.cache.keep == ("intro-*", "a?")
    assert from_file.cache.audio_suffixes == (".MP3",)
    assert dict(from_file.cache.ttl_days_by_voice_style) == {
        "eerie_narrator": 30,
        "ghostly_whisper": 0.5,
    }
    assert from_file.requests.statuses.queued == (0, "7")
    assert dict(from_file.requests.filter) == {
        "queue": ("tts", 7, "7"),
        "deleted_at": (None,),
        "is_speech": (1,),
    }
    assert from_file.cleanup.max_delete == DeleteLimit(12.5, percent=True)


@pytest.mark.parametrize(
    ("limit", "total", "allowed"),
    [("0", 10, 0), ("7", 10, 7), ("10%", 99, 9), ("100%", 3, 3), ("0%", 9, 0), ("29%", 100, 29)],
)
def test_a_delete_limit_counts_items(limit: str, total: int, allowed: int) -> None:
    read = load(flags={"cleanup.max_delete": limit}).cleanup.max_delete
    assert read is not None
    assert read.allowed(total) == allowed
    assert str(read) == limit


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("cache.ttl_days", ["0", "-1", "inf", "nan", "1e9", "seven", "1e400"]),
        ("cache.max_size_mb", ["0", "500MB"]),
        ("cache.index", ["a/b", "..", ".narration-cleanup", "a\nb"]),
        ("cache.dir", ["ftp://x/y", "s3://", "s3:/bucket", "a\0b", " "]),
        ("cache.audio_suffixes", ["mp3", ".", ".a/b"]),
        ("cache.remove_orphans", ["maybe", "2"]),
        ("cache.evict_to_percent", ["0", "100.1"]),
        ("cache.ttl_days_by_voice_style", ["a", "a=0", "a=1,a=2", "=1"]),
        ("requests.db", ["mysql://u@h/d", "postgresql:/u@h", "host=h dbname=d"]),
        ("requests.filter", ["tts", "=tts", "queue=", "a=1,b"]),
        ("requests.time_format", ["ISO 8601"]),
        ("cleanup.timezone", ["Europe/Nowhere", "../../etc/passwd", "Europe", "Local"]),
        ("cleanup.max_delete", ["-1", "101%", "nan%", "%", "1.5", "1e3"]),
        ("history.keep_runs", ["1.5", "0", "99999999999"]),
        ("alerts.on", ["never"]),
        ("alerts.ping_url", ["hc-ping.com/x", "ftp://x", "https://"]),
    ],
)
def test_values_that_do_not_fit_are_refused(name: str, bad: list[str]) -> None:
    for value in bad:
        faults = faults_of(flags={name: value})
        assert len(faults) == 1, value
        assert faults[0].startswith("flag --")


@pytest.mark.parametrize(
    ("name", "good", "value"),
    [
        ("cache.dir", "s3://bucket/prefix", "s3://bucket/prefix"),
        ("cache.remove_orphans", "Off", False),
        ("cache.enforce_max_size", "yes", True),
        ("cache.partial_hours", "0", 0.0),
        ("requests.db", "postgresql://u:p@h/d", "postgresql://u:p@h/d"),
        ("requests.statuses.queued", "0,-1,new", (0, -1, "new")),
        ("cleanup.timezone", "Europe/Berlin", "Europe/Berlin"),
        ("cleanup.max_delete", "5", DeleteLimit(5)),
        ("alerts.ping_url", "https://hc.example/abc", "https://hc.example/abc"),
    ],
)
def test_values_that_fit_are_taken(name: str, good: str, value: object) -> None:
    settings = load(variables={BY_NAME[name].env: good})
    assert settings.value(name) == value


def test_columns_and_statuses_must_not_contradict_each_other(tmp_path: Path) -> None:
    toml = """
        [requests.columns]
        id = "status"
        started_at = "updated_at"
        completed_at = "updated_at"
        [requests.statuses]
        failed = ["queued", "broken"]
    """
    file = f"file {tmp_path / 'config.toml'}: "
    assert faults_of(toml, at=tmp_path) == (
        "default: requests.columns.status names the same column as requests.columns.id",
        file + "requests.columns.id names the same column as requests.columns.status",
        file + "requests.statuses.failed holds queued, which requests.statuses.queued holds too",
    )
    nothing_active = "[requests.statuses]\nqueued = []\ngenerating = []"
    assert len(faults_of(nothing_active, at=tmp_path)) == 1
    assert load("[requests.statuses]\nqueued = []", at=tmp_path).requests.statuses.queued == ()
    assert len(faults_of("[requests.statuses]\ncancelled = []", at=tmp_path)) == 1


@pytest.mark.parametrize(
    ("toml", "fault"),
    [
        ('[requests.columns]\nerror = "REQUEST_ID"', "the same column as requests.columns.id"),
        ('[requests.columns]\nerror = "Created_At"', "the same column as requests.columns.error"),
        ('[requests.columns]\ncompleted_at = "created_at"', "as requests.columns.completed_at"),
        ('[cache]\naudio_suffixes = [".mp3", ".json"]', "it would be taken for audio"),
        ('[cache]\naudio_suffixes = [".lock"]', "it would be taken for audio"),
    ],
)
def test_what_a_run_would_overwrite_or_remove_by_a_slip(
    tmp_path: Path, toml: str, fault: str
) -> None:
    faults = faults_of(toml, at=tmp_path)
    assert faults
    assert any(fault in each for each in faults), faults


def test_on_postgresql_columns_that_differ_in_case_are_two(tmp_path: Path) -> None:
    toml = (
        '[requests]\ndb = "postgresql://h/d"\n'
        '[requests.columns]\nstatus = "state"\nheartbeat_at = "State"'
    )
    assert load(toml, at=tmp_path).requests.columns.heartbeat_at == "State"


def test_columns_of_one_meaning_may_be_one(tmp_path: Path) -> None:
    toml = '[requests.columns]\nstarted_at = "updated_at"\ncompleted_at = "updated_at"'
    assert load(toml, at=tmp_path).requests.columns.completed_at == "updated_at"


def test_one_half_must_be_configured() -> None:
    with pytest.raises(ConfigError, match=r"^Nothing configured: set cache\.dir"):
        require_target(load())
    require_target(load(flags={"cache.dir": "/c"}))
    require_target(load(flags={"requests.db": "/r"}))


def test_reading_settings_brings_in_nothing_it_does_not_need() -> None:
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from narration_cleanup.settings import load_settings, sources\n"
        "sources.SYSTEM_FILE = Path('/nowhere')\n"
        "load_settings(flags={}, config_file=None, environ={'HOME': '/nowhere'})\n"
        "print(*sys.modules)"
    )
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    loaded = set(done.stdout.split())
    assert "narration_cleanup.settings.load" in loaded
    unneeded = {"tomllib", "zoneinfo", "difflib", "json", "typer", "msgspec"}
    assert not loaded & unneeded


def test_despite_faults_what_is_right_is_read(tmp_path: Path) -> None:
    """For telling somebody that a setting is wrong: the alerts, and where the history is."""
    file = tmp_path / "config.toml"
    file.write_text('[cache]\nttl_days = "soon"\n[alerts]\nurls = ["json://a"]\n[colour]\n')
    environ = {"HOME": str(tmp_path), "NARRATION_CLEANUP_STATE_DIR": str(tmp_path / "state")}
    settings, _, state_known = load_partial(flags={}, config_file=file, environ=environ)
    assert settings.alerts.urls == ("json://a",)
    assert settings.cache.ttl_days == 7
    assert settings.cleanup.state_dir == tmp_path / "state"
    assert state_known


def test_despite_faults_alerts_are_read_where_no_state_folder_can_be_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in the unit that tells of a run's end: it has no state, and no home."""
    monkeypatch.setattr(os.path, "expanduser", lambda text: text)
    environ = {"NARRATION_ALERTS_PING_URL": "https://ping.example/x"}
    settings, _, state_known = load_partial(flags={}, config_file=None, environ=environ)
    assert settings.alerts.ping_url == "https://ping.example/x"
    assert not state_known
    assert not settings.cleanup.state_dir.exists()


@pytest.mark.parametrize("text", ["[cache", '[cleanup]\nstate_dir = ""\n'])
def test_despite_faults_the_state_folder_is_not_guessed(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    environ = {"HOME": str(tmp_path)}
    _, _, state_known = load_partial(flags={}, config_file=file, environ=environ)
    assert not state_known
