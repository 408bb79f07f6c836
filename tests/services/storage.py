"""An object storage that speaks S3: S3Proxy over a folder."""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
from pathlib import Path

from tests.services.java import Process, free_ports, java, s3proxy

START_S_MAX = 60
KEY, SECRET = "someone", "a-secret"


class Storage:
    """A server at `host`, with one bucket that is there from the start."""

    bucket = "labels"

    def __init__(self) -> None:
        jar, (self._port,) = s3proxy(), free_ports(1)
        self.host = f"127.0.0.1:{self._port}"
        self._folder = Path(tempfile.mkdtemp(prefix="errata-storage-"))
        (self._folder / "data" / self.bucket).mkdir(parents=True)
        settings = {
            "s3proxy.endpoint": f"http://{self.host}",
            "s3proxy.authorization": "aws-v2-or-v4",
            "s3proxy.identity": KEY,
            "s3proxy.credential": SECRET,
            "s3proxy.ignore-unknown-headers": "true",  # a client asks for checksums that it lacks
            "jclouds.provider": "filesystem-nio2",
            "jclouds.filesystem.basedir": str(self._folder / "data"),
            "jclouds.identity": "local",
            "jclouds.credential": "local",
        }
        lines = "".join(f"{name}={value}\n" for name, value in settings.items())
        (self._folder / "s3proxy.conf").write_text(lines)
        command = [str(java()), "-Xmx256m", "-XX:+UseSerialGC", "-jar", str(jar)]
        arguments = ["--properties", str(self._folder / "s3proxy.conf")]
        self._process = Process([*command, *arguments], self._folder / "storage.log")
        try:
            self._process.wait_until(self._ready, START_S_MAX)
        except BaseException:
            self.stop()
            raise

    def url(self, path: str) -> str:
        """The address of a path in the bucket."""
        return f"s3://{self.bucket}/{path}?endpoint_override={self.host}&scheme=http&region=here"

    def _ready(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1):
            return True
        return False

    def stop(self) -> None:
        """Stop the server and forget what it held."""
        self._process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
