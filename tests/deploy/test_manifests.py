from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from narration_cleanup import __version__
from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.report.history import SCHEDULED_BY
from narration_cleanup.settings.types import BY_VARIABLE

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def documents(name: str) -> list[Any]:
    with (DEPLOY / name).open() as stream:
        return list(yaml.safe_load_all(stream))


def instructions() -> list[tuple[str, str]]:
    """The Containerfile's instructions, with their arguments on one line."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Containerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines if line]


def cron_job() -> Any:
    (job,) = [each for each in documents("cronjob.yaml") if each["kind"] == "CronJob"]
    return job["spec"]


def test_the_image_runs_the_program_itself_as_no_root() -> None:
    found = dict(instructions())
    assert found["ENTRYPOINT"] == '["narration-cleanup"]'  # no shell, which would be process 1
    assert found["CMD"] == '["run", "--log-format", "json"]'
    assert ("ARG", "RUN_AS=65532:0") in instructions()
    assert found["USER"] == "${RUN_AS}"
    assert [each for name, each in instructions() if name == "FROM"] == [
        "${BASE} AS build",
        "${BASE}",
    ]


def test_what_the_image_copies_is_there() -> None:
    copied = [each for name, each in instructions() if name == "COPY" and "--from" not in each]
    for words in map(shlex.split, copied):
        for source in words[:-1]:
            assert (DEPLOY.parent / source).exists(), source
    # Whatever the package's build reads.
    build = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    read = build["targets"]["wheel"]["shared-data"]
    assert {name.partition("/")[0] for name in read} <= {
        source for words in map(shlex.split, copied) for source in words
    }


def test_the_cron_job_knows_the_exit_codes() -> None:
    spec = cron_job()
    assert spec["concurrencyPolicy"] == "Forbid"
    job = spec["jobTemplate"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    # Kubernetes takes a pod failure policy only with pods that are not restarted.
    assert pod["restartPolicy"] == "Never"
    assert pod["terminationGracePeriodSeconds"] == 30
    by_code = {
        ExitCode(code): rule["action"]
        for rule in job["podFailurePolicy"]["rules"]
        if "onExitCodes" in rule
        for code in rule["onExitCodes"]["values"]
        if rule["onExitCodes"]["containerName"] == container["name"]
    }
    assert by_code == {
        ExitCode.BUSY: "Ignore",
        ExitCode.TERMINATED: "Ignore",
        ExitCode.USAGE: "FailJob",
        ExitCode.PARTLY_DONE: "FailJob",
        ExitCode.REFUSED: "FailJob",
        ExitCode.BAD_CONFIGURATION: "FailJob",
    }
    assert container["args"] == ["run", "--log-format", "json"]
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounted.keys() == {volume["name"] for volume in pod["volumes"]}
    assert mounted["state"] == "/state"
    assert {"name": SCHEDULED_BY, "value": "cronjob"} in container["env"]


def test_the_cron_job_holds_against_the_published_schemas() -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="needs the extra `servers`")
    for document in documents("cronjob.yaml"):
        validate.validate(document, validate.latest_version(), strict=True)


def test_the_configuration_in_the_cron_job_is_one(tmp_path: Path) -> None:
    from narration_cleanup.settings import load_settings

    file = tmp_path / "config.toml"
    (config,) = [each for each in documents("cronjob.yaml") if each["kind"] == "ConfigMap"]
    file.write_text(config["data"]["config.toml"])
    settings = load_settings(flags={}, config_file=file, environ={"HOME": str(tmp_path)})
    assert settings.cache.dir == "/app/cache/narration"
    assert not settings.warnings


@pytest.mark.parametrize("name", ["compose.yaml", "home-assistant/config.yaml"])
def test_the_variables_in_the_manifests_are_settings(name: str) -> None:
    (document,) = documents(name)
    services = document.get("services", {"add-on": document})
    for service in services.values():
        ours = {each for each in service["environment"] if each.startswith("NARRATION_")}
        assert ours
        assert ours <= BY_VARIABLE.keys() | {SCHEDULED_BY}


def test_service_and_clean_up_share_places_user_and_zone() -> None:
    (compose,) = documents("compose.yaml")
    service, cleanup = compose["services"]["narration"], compose["services"]["cleanup"]
    assert service["user"] == cleanup["user"]
    assert service["environment"].items() <= cleanup["environment"].items()
    assert cleanup["environment"][SCHEDULED_BY] == "compose"
    assert set(service["volumes"]) < set(cleanup["volumes"])
    named = {volume.partition(":")[0] for volume in cleanup["volumes"]}
    assert named == set(compose["volumes"])


@pytest.mark.parametrize("at_work", [True, False])
def test_sigterm_ends_the_loop_of_the_compose_file(tmp_path: Path, at_work: bool) -> None:
    """In the middle of a run the signal is the run's, which ends first; else it ends the wait."""
    (compose,) = documents("compose.yaml")
    cleanup = compose["services"]["cleanup"]
    (script,) = cleanup["command"]
    report, log = tmp_path / "report", tmp_path / "log"
    os.mkfifo(report)
    program = tmp_path / ("narration-cleanup" if at_work else "sleep")
    # A shell runs its trap once what it waits for is over: so it waits in `wait`.
    program.write_text(
        f"#!/bin/sh\ntrap 'kill -9 $!; echo stopped >> {log}; exit 143' TERM\n"
        f"mkfifo {tmp_path}/never; cat {tmp_path}/never & echo begun > {report}; wait\n"
    )
    other = tmp_path / ("sleep" if at_work else "narration-cleanup")
    other.write_text(f'#!/bin/sh\necho "other $*" >> {log}\n')
    for each in (program, other):
        each.chmod(0o755)
    loop = subprocess.Popen(
        [*cleanup["entrypoint"], script.replace("$$", "$")],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "INTERVAL_SECONDS": "21600"},
    )
    try:
        assert report.read_text() == "begun\n"  # waits until it is open at the other end
        loop.send_signal(signal.SIGTERM)
        assert loop.wait(30) == 143
    finally:
        loop.kill()
        loop.wait()
    expected = "stopped\n" if at_work else "other run --log-format json\nstopped\n"
    assert log.read_text() == expected


def test_there_is_one_add_on_in_a_checkout_that_was_made_one() -> None:
    """Home Assistant reads every ``config.*`` below the folder."""
    steps = (DEPLOY.parent / "docs" / "containers.md").read_text().split("## Home Assistant\n")[1]
    assert "mv deploy/home-assistant/*.yaml ." in steps
    found = [
        path
        for ending in ("json", "yaml", "yml")
        for path in DEPLOY.parent.glob(f"*/**/config.{ending}")
    ]
    hidden = [
        path
        for path in found
        if any(p.startswith(".") for p in path.relative_to(DEPLOY.parent).parts)
    ]
    assert set(found) - set(hidden) == {DEPLOY / "home-assistant" / "config.yaml"}


def test_the_add_on_is_this_version_and_runs_as_root() -> None:
    (add_on,) = documents("home-assistant/config.yaml")
    (build,) = documents("home-assistant/build.yaml")
    assert add_on["version"] == __version__
    assert add_on["startup"] == "once"
    assert not add_on["init"]  # the program is process 1
    assert build["args"] == {"RUN_AS": "0:0"}  # as whose files these are
