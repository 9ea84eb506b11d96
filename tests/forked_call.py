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


def main(descriptor: str, module: str, *arguments: str) -> int:
    """Ask for it, and wait for its end; its exit code as a shell has it."""
    call = {
        "module": module,
        "arguments": arguments,
        "cwd": os.getcwd(),
        "environment": dict(os.environ),
        "user": 0,
    }
    told, tell = os.pipe()
    original = socket.socket(fileno=int(descriptor))
    socket.send_fds(original, [json.dumps(call).encode()], [0, 1, 2, tell])
    os.close(tell)
    with open(told, encoding="ascii") as answer:
        code = os.waitstatus_to_exitcode(int(answer.read()))
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
