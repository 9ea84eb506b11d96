"""What is secret is shown nowhere: not in faults, not in warnings, not in what `config` prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narration_cleanup.cli.config import config_document
from narration_cleanup.core.errors import ConfigError
from narration_cleanup.report.documents import encode
from narration_cleanup.settings import BY_NAME, load_settings
from narration_cleanup.settings.show import show_lines, without_password
from tests.settings_help import load

CANARY = "c4n4ry"


@pytest.mark.parametrize(
    ("location", "seen"),
    [
        ("postgresql://u:c4n4ry@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u@h:5432/d", "postgresql://u@h:5432/d"),
        ("postgresql://h1:5432,h2:5433/d", "postgresql://h1:5432,h2:5433/d"),
        ("postgresql://u:c4n4ry/c4n4ry?c4n4ry@c4n4ry@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u@h/d?password=c4n4ry&x=1", "postgresql://u@h/d?password=***&x=1"),
        ("postgresql:///d?user=u&SSLPASSWORD=c4n4ry", "postgresql:///d?user=u&SSLPASSWORD=***"),
        ("s3://id:c4n4ry@bucket/prefix", "s3://id:***@bucket/prefix"),
        ("host=h password='c4n4ry c4n4ry' user=u", "host=h password=*** user=u"),
        ("host=h password = c4n4ry user=u", "host=h password = *** user=u"),
        ("u:c4n4ry@h/d", "u:***@h/d"),
        ("/srv/a:b@c/requests.db", "/srv/a:b@c/requests.db"),
        ("s3://bucket/prefix", "s3://bucket/prefix"),
    ],
)
def test_a_location_is_shown_without_its_password(location: str, seen: str) -> None:
    assert without_password(location) == seen


@given(password=st.text(min_size=1, max_size=20), place=st.sampled_from(["@h/d", "@h", "@/d?x=1"]))
def test_no_password_survives_whatever_is_in_it(password: str, place: str) -> None:
    assert (
        without_password(f"postgresql://user:{password}{place}") == f"postgresql://user:***{place}"
    )


@pytest.mark.parametrize("source", ["file", "variable", "credential", "flag"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alerts.urls", f"json://{CANARY}@h json://x"),
        ("alerts.ping_url", f"https://hc.example/{CANARY}"),
        ("alerts.ping_url", f"no url {CANARY}"),
        ("requests.db", f"postgresql://u:{CANARY}@h/d"),
        ("requests.db", f"postgresql:/u:{CANARY}@h/d"),
        ("requests.db", f"host=h dbname=d password={CANARY}"),
        ("requests.db", f"mysql://u:{CANARY}@h/d"),
        ("cache.dir", f"s3://u:{CANARY}@bucket"),
    ],
)
def test_no_source_and_no_fault_shows_a_secret(
    tmp_path: Path, source: str, name: str, value: str
) -> None:
    environ = {"HOME": "/h", "STATE_DIRECTORY": "/s"}
    flags: dict[str, object | None] = {}
    file = tmp_path / "config.toml"
    file.touch()
    if source == "file":
        section, _, key = name.partition(".")
        given = value.split() if name == "alerts.urls" else value
        file.write_text(f"[{section}]\n{key} = {json.dumps(given)}")
    elif source == "variable":
        environ[BY_NAME[name].env] = value
    elif source == "credential":
        environ["CREDENTIALS_DIRECTORY"] = str(tmp_path)
        (tmp_path / name).write_text(value)
    else:
        flags[name] = value
    try:
        settings = load_settings(flags=flags, config_file=file, environ=environ)
    except ConfigError as error:
        said = str(error)
        assert "***" in said
    else:
        said = "\n".join([*show_lines(settings), encode(config_document(settings))])
        assert said.count("***") >= 2
        assert CANARY in str(settings.value(name))
    assert CANARY not in said


@pytest.mark.parametrize(
    "toml",
    [
        f"alerts = '{CANARY}'",
        f"[alerts]\nurls = [['{CANARY}']]",
        f"[alerts]\nurl = '{CANARY}'",
        f"[alerts]\nping_url = {{ a = '{CANARY}' }}",
        f"[requests]\ndb = ['postgresql://u:{CANARY}@h']",
        f"[requests]\ndb = {{ password = '{CANARY}' }}",
        f"[requests]\npassword = '{CANARY}'",
        f"[alerts]\nping_url = 'https://{CANARY}",
    ],
)
def test_a_secret_in_the_wrong_place_is_not_shown_either(tmp_path: Path, toml: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(toml, at=tmp_path)
    assert CANARY not in str(caught.value)
