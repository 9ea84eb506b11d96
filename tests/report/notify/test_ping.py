"""The dead man's switch hears a start and an end, and can neither fail a run nor hold it up."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.report.notify import ping_end, ping_start
from narration_cleanup.report.notify.ping import last_whole, style_of
from narration_cleanup.report.notify.send import within
from narration_cleanup.report.run_record import RunRecord, record_of
from tests.receiver import Receiver, receiver
from tests.results import A_PROBLEM, make_result

SECRET = "canary-8f14e45f"
OK = record_of(make_result())
FAILED = record_of(make_result(stopped=ExitCode.FAILED))


@pytest.fixture
def switch() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once."""
    monkeypatch.setattr("narration_cleanup.report.notify.ping.time.sleep", lambda seconds: None)


def test_start_and_success(switch: Receiver) -> None:
    url = switch.url(SECRET)
    assert ping_start(url) is None
    assert ping_end(url, OK, ["first", "last: ä"]) is None
    assert switch.got == [(f"/{SECRET}/start", ""), (f"/{SECRET}", "first\nlast: ä")]


@pytest.mark.parametrize(
    "record",
    [
        FAILED,
        record_of(make_result(problems=(A_PROBLEM,))),
        record_of(make_result(stopped=ExitCode.REFUSED)),
        record_of(make_result(stopped=ExitCode.TERMINATED)),
    ],
    ids=lambda record: str(record.outcome),
)
def test_what_is_not_success_is_failure(switch: Receiver, record: RunRecord) -> None:
    assert ping_end(switch.url(SECRET), record, []) is None
    assert switch.paths == [f"/{SECRET}/fail"]


def test_a_run_that_found_the_lock_held_says_nothing(switch: Receiver) -> None:
    assert ping_end(switch.url(SECRET), record_of(make_result(stopped=ExitCode.BUSY)), []) is None
    assert switch.got == []


def test_a_slash_and_a_query_keep_their_places(switch: Receiver) -> None:
    assert ping_end(switch.url(f"{SECRET}/?key=1"), FAILED, []) is None
    assert switch.paths == [f"/{SECRET}/fail?key=1"]


def test_a_receiver_in_trouble_is_tried_again(switch: Receiver) -> None:
    switch.answers[:] = [503, 500, 200]
    assert ping_end(switch.url(SECRET), OK, []) is None
    assert len(switch.got) == 3


def test_a_receiver_that_refuses_is_not(switch: Receiver) -> None:
    switch.answers[:] = [404]
    said = ping_end(switch.url(SECRET), OK, [])
    assert said == "the ping (alerts.ping_url) did not arrive: the receiver answered 404"
    assert len(switch.got) == 1


def test_a_body_is_the_last_lines_that_fit_each_whole(switch: Receiver) -> None:
    lines = [f"line {number:04} ä" for number in range(2_000)]
    assert ping_end(switch.url(SECRET), OK, lines) is None
    ((_, body),) = switch.got
    assert 9_980 < len(body.encode()) <= 10_000
    assert body.splitlines() == lines[-len(body.splitlines()) :]
    assert last_whole(["", "short", "ä" * 20], 41) == b"\xc3\xa4" * 20
    assert last_whole(["short", "ä" * 20], 39) == b"\xc3\xa4" * 19
    assert last_whole([], 10) == b""


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_keeps_the_log(switch: Receiver, code: int) -> None:
    switch.answers[:] = [code, 200]
    switch.moved_to = switch.url("moved")
    assert ping_end(switch.url(SECRET), FAILED, ["what happened"]) is None
    assert switch.got == [(f"/{SECRET}/fail", "what happened"), ("/moved", "what happened")]


def test_uptime_kuma_hears_up_or_down_and_nothing_of_a_start(switch: Receiver) -> None:
    url = switch.url(f"api/push/{SECRET}?status=up&msg=OK&ping=")
    switch.refuses = ("POST",)
    assert ping_start(url) is None
    assert ping_end(url, OK, ["x" * 600, "removed 3 & more"]) is None
    assert ping_end(url, FAILED, ["ERROR - ä"]) is None
    took = round((OK.duration or 0) * 1000)
    assert switch.got == [
        (f"/api/push/{SECRET}?status=up&msg=removed+3+%26+more&ping={took}", ""),
        (f"/api/push/{SECRET}?status=down&msg=ERROR+-+%C3%A4&ping={took}", ""),
    ]


def test_cronitor_hears_run_complete_and_fail(switch: Receiver) -> None:
    url = switch.url(f"p/{SECRET}/job?env=prod")
    ping_start(url, "cronitor")
    ping_end(url, OK, ["fine"], "cronitor")
    ping_end(url, FAILED, ["bad"], "cronitor")
    assert switch.got == [
        (f"/p/{SECRET}/job?env=prod&state=run", ""),
        (f"/p/{SECRET}/job?env=prod&state=complete&message=fine", "fine"),
        (f"/p/{SECRET}/job?env=prod&state=fail&message=bad", "bad"),
    ]


def test_a_template_is_filled_and_a_receiver_that_takes_no_post_gets_get(
    switch: Receiver,
) -> None:
    url = switch.url(SECRET + "/{state}?m={message}")
    ping_start(url)
    switch.refuses = ("POST",)
    ping_end(url, FAILED, ["a b&c"])
    assert switch.got == [(f"/{SECRET}/start?m=", ""), (f"/{SECRET}/fail?m=a%20b%26c", "")]


@pytest.mark.parametrize(
    ("url", "style"),
    [
        ("https://hc-ping.com/x", "healthchecks"),
        ("https://cronitor.link/p/x/y", "cronitor"),
        ("https://notcronitor.link/p/x/y", "healthchecks"),
        ("https://kuma.example/sub/api/push/x?status=up", "uptime-kuma"),
        ("https://x.example/{state}", "template"),
    ],
)
def test_the_style_that_an_address_shows(url: str, style: str) -> None:
    assert style_of(url) == style


@pytest.mark.parametrize(
    "url",
    [
        f"http://127.0.0.1:PORT/{SECRET}",
        f"http://user:{SECRET}@127.0.0.1:PORT/",
        f"http://{SECRET}.invalid/",
        f"http://127.0.0.1:{SECRET}/x",
        f"http://127.0.0.1/{SECRET}\x01 ",
        f"http://[{SECRET}/",
        f"nothing://{SECRET}",
    ],
)
def test_no_address_is_said_whatever_goes_wrong(
    url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with closing(socket.socket()) as closed:
        closed.bind(("127.0.0.1", 0))  # bound, and not listening: refused
        said = ping_start(url.replace("PORT", str(closed.getsockname()[1])))
    assert said is not None
    assert said.startswith("the ping (alerts.ping_url) did not arrive: ")
    assert SECRET not in said + "".join(capfd.readouterr())


def test_a_receiver_that_hangs_is_waited_for_no_longer_than_the_limit(
    switch: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the request and never answers: were the limit not kept, this test would not end."""
    monkeypatch.setattr("narration_cleanup.report.notify.ping.PING_SECONDS", 0.2)
    switch.hangs.set()
    said = ping_end(switch.url(SECRET), OK, [])
    assert said == "the ping (alerts.ping_url) did not arrive: no answer within 0.2 s"
    assert not switch.ended.is_set()


def test_no_start_is_sent_when_nobody_waits_for_it_any_more(
    switch: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would follow the end of its run, and count as a run that hangs."""
    monkeypatch.setattr("narration_cleanup.report.notify.ping.ONE_TRY_SECONDS", 0.3)
    monkeypatch.setattr("narration_cleanup.report.notify.ping.START_SECONDS", 0.1)
    switch.hangs.set()
    assert ping_start(switch.url(SECRET)) is not None
    threading.Event().wait(1.5)
    assert switch.paths == [f"/{SECRET}/start"]


def test_works_are_done_side_by_side() -> None:
    """Each waits for the other: one after the other, neither would come back."""
    barrier = threading.Barrier(2)

    def meet() -> str | None:
        barrier.wait(timeout=10)
        return None

    assert within(10.0, [meet, meet]) == [None, None]


def test_without_a_thread_to_be_had_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", full)
    assert within(10.0, [lambda: None]) == ["failed (no thread could be started)"]


def test_a_work_that_raises_says_only_what_kind() -> None:
    def work() -> str | None:
        raise ValueError(SECRET)

    assert within(10.0, [work]) == ["failed (ValueError)"]
