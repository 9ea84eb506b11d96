"""Wait for something that may never come back, for a limited time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from time import monotonic


def within(seconds: float, works: Sequence[Callable[[], str | None]]) -> list[str | None]:
    """Do all of ``works`` side by side; what each says went wrong (``None``: nothing did).

    Threads that do not come back are left behind: they are daemons, which the process does not
    wait for when it ends. A socket's own time limit would not do, it begins again at every byte.
    """
    said: list[str | None] = [f"no answer within {seconds:g} s"] * len(works)

    def do(position: int) -> None:
        try:
            said[position] = works[position]()
        except Exception as error:  # its text may hold the address: only the kind is told
            said[position] = f"failed ({type(error).__name__})"

    threads = [
        threading.Thread(target=do, args=(position,), daemon=True) for position in range(len(works))
    ]
    for position, thread in enumerate(threads):
        try:
            thread.start()
        except RuntimeError:  # the process may have no more of them
            said[position] = "failed (no thread could be started)"
    end = monotonic() + seconds
    for thread in threads:
        if thread.ident is not None:
            thread.join(max(0.0, end - monotonic()))
    return list(said)
