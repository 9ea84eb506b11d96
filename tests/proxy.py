"""A TCP proxy on loopback that can cut connections at a chosen moment, as networks do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto


class Do(Enum):
    """What becomes of what a client sent. DEAF: it is handed on, and the answer is cut off."""

    PASS = auto()
    CUT = auto()
    DEAF = auto()


@dataclass(frozen=True)
class Instead:
    """These bytes are handed on in its place."""

    data: bytes


@dataclass(frozen=True)
class Answer:
    """The client gets this answer, and the server nothing."""

    data: bytes


OnRequest = Callable[[bytes], Do | Instead | Answer]


class Proxy:
    """Hands bytes on to a port of 127.0.0.1; `on_request` sees each piece before, and decides."""

    def __init__(self, port: int, on_request: OnRequest) -> None:
        self._target = port
        self._on_request = on_request
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Cut everything."""
        for each in [self._listener, *self._sockets]:
            _shut(each)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                try:
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    _shut(client)
                    continue
                self._sockets.append(server)
                _Pair(client, server, self._on_request).start()


class _Pair:
    def __init__(
        self,
        client: socket.socket,
        server: socket.socket,
        on_request: OnRequest,
    ) -> None:
        self._client, self._server = client, server
        self._on_request = on_request
        self._deaf = False

    def start(self) -> None:
        for work in (self._requests, self._answers):
            threading.Thread(target=work, daemon=True).start()

    def _requests(self) -> None:
        with suppress(OSError):
            while data := self._client.recv(65536):
                verdict = self._on_request(data)
                if verdict is Do.CUT:
                    break
                if verdict is Do.DEAF:
                    self._deaf = True
                if isinstance(verdict, Answer):
                    self._client.sendall(verdict.data)
                    continue
                self._server.sendall(verdict.data if isinstance(verdict, Instead) else data)
        self._cut()

    def _answers(self) -> None:
        with suppress(OSError):
            while (data := self._server.recv(65536)) and not self._deaf:
                self._client.sendall(data)
        self._cut()

    def _cut(self) -> None:
        _shut(self._client)
        _shut(self._server)


def _shut(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    with suppress(OSError):
        one.close()
