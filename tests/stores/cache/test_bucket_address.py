"""Addresses of a bucket's server that the library would panic at, and a panic all the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from narration_cleanup.cli.app import app
from narration_cleanup.core.errors import ConfigError, TargetError
from tests.samples import make_requests, tree_digest

pytest.importorskip("obstore", reason="needs the extra s3")

from narration_cleanup.stores.cache.s3.location import S3Location


@pytest.fixture(autouse=True)
def without_settings_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")


@pytest.mark.parametrize(
    "address",
    ["", " ", "127.0.0.1:9", "http://", "https://:9", "ftp://host", "http://host:x", "http://a b"],
)
@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"])
def test_what_is_no_address_is_one_line_with_the_name_of_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, address: str
) -> None:
    monkeypatch.setenv(name, address)
    with pytest.raises(ConfigError, match=f"{name} is ") as refused:
        S3Location("s3://bucket/prefix")
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9", "https://s3.example.org", "http://[::1]:9/"]
)
def test_an_address_is_taken(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    assert S3Location("s3://bucket/prefix").location == "s3://bucket/prefix"


@pytest.mark.parametrize("command", ["run", "dry-run"])
def test_a_wrong_address_is_in_the_document_of_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "")
    database = tmp_path / "requests.db"
    make_requests(database)
    before = tree_digest(tmp_path)
    arguments = [command, "--json", "--cache-dir", "s3://bucket", "--requests-db", str(database)]
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(tmp_path.parent / "state")}
    done = CliRunner().invoke(app, arguments, env=environment)
    assert done.exit_code == 78
    assert "AWS_ENDPOINT_URL is empty" in json.loads(done.stdout)["message"]
    assert tree_digest(tmp_path) == before


def test_a_panic_of_the_library_is_a_fault_of_this_target() -> None:
    panic = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})
    place = S3Location("s3://bucket/prefix")
    message = "the library for buckets failed: no such uri"
    with pytest.raises(TargetError, match=message), place.translated_errors():
        raise panic("no such uri")


def test_the_end_of_the_process_is_none() -> None:
    with pytest.raises(KeyboardInterrupt), S3Location("s3://bucket/prefix").translated_errors():
        raise KeyboardInterrupt
