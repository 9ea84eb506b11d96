"""A real receiver of pings and messages on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Receiver:
    """What arrived, in order: (path, body). `answers` are the codes to give, the last for ever,
    with the address `moved_to`; methods in `refuses` are answered 501. While `hangs` is set,
    nothing is answered; `arrived` is set by the first of them."""

    port: int = 0
    got: list[tuple[str, str]] = field(default_factory=list)
    answers: list[int] = field(default_factory=lambda: [200])
    moved_to: str = ""
    refuses: tuple[str, ...] = ()
    hangs: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str, scheme: str = "http") -> str:
        """An address of this receiver."""
        return f"{scheme}://127.0.0.1:{self.port}/{path}"

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.got]

    def messages(self) -> list[dict[str, str]]:
        """The bodies of the messages that Apprise sent to a json:// address."""
        return [json.loads(body) for _, body in self.got]


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Receive on a free port of 127.0.0.1 until the block ends."""
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            if self.command in state.refuses:
                self.send_error(501)
                return
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            state.got.append((self.path, body))
            state.arrived.set()
            if state.hangs.is_set():
                state.ended.wait()
                return
            answers = state.answers
            self.send_response(answers.pop(0) if len(answers) > 1 else answers[0])
            if state.moved_to:
                self.send_header("Location", state.moved_to)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        state.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield state
        finally:
            state.ended.set()
            server.shutdown()
            thread.join()
