"""A TCP proxy on loopback that can cut connections at a chosen moment, as networks do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress


class Proxy:
    """Hands bytes on to a port of 127.0.0.1, until told otherwise.

    `on_request` sees what each client sends, before it is handed on; it returns False to have the
    connection cut instead, and "deaf" to have it handed on and cut when the answer comes.
    """

    def __init__(self, port: int, on_request: Callable[[bytes], bool | str]) -> None:
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
                server = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [client, server]
                _Pair(client, server, self._on_request).start()


class _Pair:
    def __init__(
        self,
        client: socket.socket,
        server: socket.socket,
        on_request: Callable[[bytes], bool | str],
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
                if verdict == "deaf":
                    self._deaf = True
                if not verdict:
                    break
                self._server.sendall(data)
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
