"""What the units are made from: settings and their sources, places, users."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from narration_cleanup.core.errors import ConfigError
from narration_cleanup.settings import load_settings
from narration_cleanup.systemd import discover as facts_room
from narration_cleanup.systemd.discover import find_facts, missing_folders
from narration_cleanup.systemd.installation import Installation

Find = Callable[..., Installation]
ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "cache").mkdir()
    (tmp_path / "requests.db").touch()
    (tmp_path / "config.toml").write_text(
        f'cache.dir = "{tmp_path}/cache"\nrequests.db = "{tmp_path}/requests.db"\n'
    )
    return tmp_path


@pytest.fixture
def find(place: Path) -> Find:
    """`find_facts` for the configuration in `place`, with these variables and flags."""

    def find_(
        variables: dict[str, str] | None = None,
        interval: str | None = None,
        **more: bool | str | None,
    ) -> Installation:
        environ = {"HOME": str(place), **(variables or {})}
        settings = load_settings(
            flags={"cleanup.interval_hours": interval},
            config_file=place / "config.toml",
            environ=environ,
        )
        return find_facts(settings, environ, **more)  # type: ignore[arg-type]

    return find_


def test_a_plain_installation(find: Find, place: Path) -> None:
    installation = find()
    assert installation.data == (place / "cache", place)
    assert installation.config == place / "config.toml"
    assert installation.user == pwd.getpwuid(os.getuid()).pw_name
    assert installation.state == "narration-cleanup"
    assert installation.environment == ()
    assert installation.interval_hours == 6
    assert not installation.network
    assert not installation.notify_success


def test_what_came_from_variables_and_flags_goes_into_the_unit(
    find: Find, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    installation = find({"NARRATION_CACHE_DIR": "./cache", "NARRATION_CACHE_TTL_DAYS": " 3"}, "5")
    assert dict(installation.environment) == {
        "NARRATION_CACHE_DIR": str(place / "cache"),
        "NARRATION_CACHE_TTL_DAYS": "3",
        "NARRATION_CLEANUP_INTERVAL_HOURS": "5",
    }
    assert installation.interval_hours == 5


@pytest.mark.parametrize(
    ("written", "for_user", "refused"),
    [
        ("cache", False, True),
        ("./cache", True, True),
        ("~/cache", False, True),
        ("~/cache", True, False),  # whoever it is, it is the same one
        ("{place}/cache", False, False),
    ],
)
def test_a_path_in_the_file_must_mean_the_same_wherever_a_run_is_started(
    find: Find,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    written: str,
    for_user: bool,
    refused: bool,
) -> None:
    monkeypatch.chdir(place)
    written = written.format(place=place)
    (place / "config.toml").write_text(f'cache.dir = "{written}"\n')
    if not refused:
        assert place / "cache" in find(for_user=for_user).data
        return
    with pytest.raises(ConfigError) as caught:
        find(for_user=for_user)
    assert str(caught.value) == (
        f"file {place}/config.toml: cache.dir is {written}, which depends on where and by whom a "
        f"run is started: write {place}/cache if that is meant"
    )
    # What a variable or a flag says instead goes into the unit as it is now.
    assert find({"NARRATION_CACHE_DIR": "cache"}).environment


@pytest.mark.parametrize(
    ("variable", "value", "name"),
    [
        ("NARRATION_ALERTS_PING_URL", "https://canary.example/uuid", "alerts.ping_url"),
        ("NARRATION_ALERTS_URLS", "ntfy://canary@example", "alerts.urls"),
        ("NARRATION_REQUESTS_DB", "postgresql://me:canary@db/x", "requests.db"),
    ],
)
def test_a_secret_from_a_variable_is_not_written(
    find: Find, variable: str, value: str, name: str
) -> None:
    with pytest.raises(ConfigError, match=f"/etc/narration-cleanup/credentials/{name}") as caught:
        find({variable: value})
    assert "canary" not in str(caught.value)
    with pytest.raises(ConfigError, match="put it into the configuration file"):
        find({variable: value}, for_user=True)


def test_a_secret_from_a_credential_goes_to_the_unit_that_needs_it(
    find: Find, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = place / "credentials"
    folder.mkdir()
    (folder / "NARRATION_REQUESTS_DB").write_text("postgresql://me:canary@db/x\n")
    (folder / "alerts.ping_url").write_text("https://canary.example/uuid\n")
    (folder / "unrelated").write_text("canary")
    monkeypatch.setattr(facts_room, "CREDENTIALS", folder)
    installation = find({"CREDENTIALS_DIRECTORY": str(folder)})
    assert installation.credentials == (("requests.db", folder / "NARRATION_REQUESTS_DB"),)
    assert installation.notify_credentials == (("alerts.ping_url", folder / "alerts.ping_url"),)
    assert installation.network
    assert installation.notify_success
    assert installation.data == (place / "cache",)


@pytest.mark.parametrize(
    ("variable", "value", "left"),
    [
        ("NARRATION_CACHE_DIR", "s3://bucket/narration", "."),
        ("NARRATION_REQUESTS_DB", "postgresql://me@db/x", "cache"),
    ],
)
def test_what_is_elsewhere_needs_a_network_and_no_folder(
    find: Find, place: Path, variable: str, value: str, left: str
) -> None:
    installation = find({variable: value})
    assert installation.network
    assert installation.data == (place / left,)


def test_where_links_lead_is_opened_too(find: Find, place: Path) -> None:
    for name in ("cache", "requests.db"):
        (place / "elsewhere" / name).mkdir(parents=True)
    (place / "elsewhere/requests.db/real.db").touch()
    (place / "cache").rmdir()
    (place / "cache").symlink_to("elsewhere/cache")
    (place / "requests.db").unlink()
    (place / "requests.db").symlink_to("elsewhere/requests.db/real.db")
    # Named, since whoever is not root may own the links, which would be refused.
    user = pwd.getpwuid(os.getuid()).pw_name
    assert set(find(run_as=user).data) == {
        place,
        place / "cache",
        place / "elsewhere/cache",
        place / "elsewhere/requests.db",
    }


def test_the_state_folder(find: Find, place: Path) -> None:
    assert find(instance="a").state == "narration-cleanup/a"
    below = find({"NARRATION_CLEANUP_STATE_DIR": "/var/lib/voice/history"})
    assert (below.state, below.data) == ("voice/history", (place / "cache", place))
    elsewhere = find({"NARRATION_CLEANUP_STATE_DIR": f"{place}/h"})
    assert (elsewhere.state, elsewhere.data[-1]) == (None, place / "h")
    own = find(for_user=True)
    assert (own.state, own.data[-1]) == (None, place / ".local/state/narration-cleanup")
    assert own.user is None


def test_a_state_folder_is_where_its_way_leads(find: Find) -> None:
    way = "/var/lib/narration/../../lib/history"
    assert find({"NARRATION_CLEANUP_STATE_DIR": way}).state == "history"
    with pytest.raises(ConfigError, match="holds more than this program's data"):
        find({"NARRATION_CLEANUP_STATE_DIR": "/home/service/../service"})


def test_the_metrics_file_has_its_folder_opened(find: Find) -> None:
    assert find({"NARRATION_METRICS_TEXTFILE": "/var/lib/m/n.prom"}).data[-1] == Path("/var/lib/m")


@pytest.mark.parametrize("name", ["", "a/b", "a b", "..%i", "@", "x" * 101])
def test_an_instance_name_is_one_word(find: Find, name: str) -> None:
    with pytest.raises(ConfigError, match="--instance"):
        find(instance=name)


def test_nobody_to_run_as(find: Find, place: Path) -> None:
    (place / "cache").rmdir()
    with pytest.raises(ConfigError, match="--run-as USER"):
        find({"NARRATION_REQUESTS_DB": "postgresql://me@db/x"})
    assert find({"NARRATION_REQUESTS_DB": "postgresql://me@db/x"}, run_as="me").user == "me"


def test_a_group_that_is_not_the_users_own_is_named(
    find: Find, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find().group is None
    me = pwd.getpwuid(os.getuid())
    elsewhere = pwd.struct_passwd((*me[:3], me.pw_gid + 1, *me[4:]))
    monkeypatch.setattr(pwd, "getpwnam", lambda _: elsewhere)
    assert find().group == grp.getgrgid((place / "cache").stat().st_gid).gr_name
    assert find(for_user=True).group is None


def test_missing_folders_are_named(place: Path) -> None:
    (place / "cache").rmdir()
    environ = {"HOME": str(place), "NARRATION_REQUESTS_DB": f"{place}/no/requests.db"}
    settings = load_settings(flags={}, config_file=place / "config.toml", environ=environ)
    assert missing_folders(settings) == [
        f"cache.dir {place}/cache is not a directory: create it, or correct it",
        f"requests.db: {place}/no is not a directory: correct it",
    ]


@pytest.mark.parametrize("folder", ["/", "/srv", "/home/somebody", "/root", "/var/lib"])
def test_no_unit_may_write_to_a_folder_of_everything(find: Find, folder: str) -> None:
    variables = {"NARRATION_REQUESTS_DB": f"{folder}/requests.db"}
    with pytest.raises(ConfigError, match=f"make {os.path.join(folder, 'narration')}, move"):
        find(variables, run_as=ME)
    # In a user's own manager nothing is bound, and the home is that user's.
    assert Path(folder) in find(variables, for_user=True).data
    assert find({"NARRATION_REQUESTS_DB": f"{folder}/narration/requests.db"}, run_as=ME)


def test_the_notifying_unit_is_handed_what_it_could_not_read(
    find: Find, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts_room, "CONFIG_DIR", place / "etc")
    config = place / "config.toml"
    config.write_text(
        f'cache.dir = "{place}/cache"\nrequests.db = "postgresql://me:canary@db/x"\n'
        'alerts.urls = ["json://one.example", "json://two.example"]\nalerts.on = "always"\n'
    )
    monkeypatch.setattr(facts_room, "is_readable_by", lambda file, uid, groups: True)
    assert find().handed == ()
    assert find().notify_credentials == ()
    monkeypatch.undo()
    monkeypatch.setattr(facts_room, "CONFIG_DIR", place / "etc")
    config.chmod(0o640)
    installation = find(instance="voices")
    folder = place / "etc" / "notify@voices"
    assert installation.notify_credentials == (
        ("alerts.on", folder / "alerts.on"),
        ("alerts.urls", folder / "alerts.urls"),
    )
    assert dict(installation.handed) == {
        folder / "alerts.on": "always",
        folder / "alerts.urls": "json://one.example\njson://two.example",
    }
    assert installation.credentials == ()
    assert "canary" not in repr(installation)
    assert find(for_user=True).handed == ()
