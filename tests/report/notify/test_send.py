"""Messages through Apprise arrive, once, and no address is ever said."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module

import pytest

from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.report.notify import message_of, send, trial_message, unknown_urls
from narration_cleanup.report.run_record import record_of
from tests.receiver import Receiver, receiver
from tests.results import make_result

SECRET = "canary-45c48cce"
MESSAGE = message_of(record_of(make_result(stopped=ExitCode.FAILED, message="It failed")), "box")


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


def test_a_message_arrives_once_at_each(hook: Receiver) -> None:
    assert send(MESSAGE, [hook.url("one", "json"), hook.url("two", "json")]) == []
    assert sorted(hook.paths) == ["/one", "/two"]
    for message in hook.messages():
        assert message["title"] == "narration-cleanup on box: failed"
        assert message["message"].startswith("It failed (exit code 1)")
        assert message["type"] == "failure"


def test_nobody_to_send_to_needs_no_apprise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    assert send(MESSAGE, []) == []
    assert unknown_urls([]) == []


def test_a_missing_extra_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    (said,) = send(MESSAGE, [f"json://127.0.0.1/{SECRET}"])
    assert "narration-cleanup[alerts]" in said
    assert unknown_urls([f"json://127.0.0.1/{SECRET}"]) == [said]


def test_what_cannot_be_sent_is_said_by_its_number(
    hook: Receiver, capfd: pytest.CaptureFixture[str]
) -> None:
    hook.answers[:] = [500]
    urls = [hook.url(SECRET, "json"), f"nonsense {SECRET}", f"slack://{SECRET}"]
    said = send(MESSAGE, urls)
    assert [line.partition(": ")[0] for line in said] == [
        f"the message to alerts.urls number {number} was not sent" for number in (1, 2, 3)
    ]
    assert SECRET not in "".join(said) + "".join(capfd.readouterr())


@pytest.mark.waits
def test_one_that_hangs_does_not_keep_the_others(
    hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = import_module("narration_cleanup.report.notify.send")
    monkeypatch.setattr(module, "SEND_SECONDS", 3.0)
    with receiver() as hanging:
        hanging.hangs.set()
        said = send(MESSAGE, [hanging.url(SECRET, "json"), hook.url("ok", "json")])
        assert len(said) == 1
        assert "number 1" in said[0]
        assert "3 s" in said[0]
    assert hook.paths == ["/ok"]


def test_addresses_are_tried_without_sending(
    hook: Receiver, capfd: pytest.CaptureFixture[str]
) -> None:
    said = unknown_urls([hook.url(SECRET, "json"), f"nonsense-{SECRET}"])
    assert said == ["alerts.urls number 2 is not an address that Apprise knows"]
    assert hook.got == []
    assert SECRET not in "".join(capfd.readouterr())


def test_a_trial_message_says_that_it_is_one(hook: Receiver) -> None:
    assert send(trial_message("box"), [hook.url("one", "json")]) == []
    ((_, _),) = hook.got
    assert hook.messages()[0]["title"] == "narration-cleanup on box: a trial message"
    assert hook.messages()[0]["type"] == "info"
