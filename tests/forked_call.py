"""Have the process that `tests.forked` started run the tool, for a program in a shell.

`python -IS tests/forked_call.py DESCRIPTOR MODULE ARGUMENTS` does what
``python -m MODULE ARGUMENTS`` does, with this process's own folder, environment and streams. It
imports nothing that takes time.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Sequence


def ask(original: socket.socket, streams: Sequence[int], **call: object) -> int:
    """Ask for a call with these streams, and wait for its end; its exit code as `subprocess` has
    it. ``call``: module, arguments, cwd, environment and user."""
    told, tell = os.pipe()
    with open(told, encoding="ascii") as answer:
        socket.send_fds(original, [json.dumps(call).encode()], [*streams, tell])
        os.close(tell)
        return os.waitstatus_to_exitcode(int(answer.read()))


def main(descriptor: str, module: str, *arguments: str) -> int:
    """Ask for what this process was to do; the exit code as a shell has it."""
    code = ask(
        socket.socket(fileno=int(descriptor)),
        (0, 1, 2),
        module=module,
        arguments=arguments,
        cwd=os.getcwd(),
        environment=dict(os.environ),
        user=0,
    )
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
