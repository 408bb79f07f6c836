"""An Apicurio schema registry, which speaks the Confluent API too.

`ERRATA_TEST_REGISTRY` names the Confluent-compatible address of one that runs already.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from tests.services.java import Process, apicurio, free_ports, java

START_S_MAX = 120


class Registry:
    """A registry at `url`, run from Maven's archive unless it was given; it forgets at its end."""

    def __init__(self, url: str | None = None) -> None:
        self._process: Process | None = None
        self._folder: Path | None = None
        if url is not None:
            self.url = url
            return
        home, (port, management) = apicurio(), free_ports(2)
        self.url = f"http://127.0.0.1:{port}/apis/ccompat/v7"
        self._folder = Path(tempfile.mkdtemp(prefix="errata-registry-"))
        ports = (f"-Dquarkus.http.port={port}", f"-Dquarkus.management.port={management}")
        jvm = ("-Xmx384m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
        command = [str(java()), *jvm, "-Dquarkus.http.host=127.0.0.1", *ports]
        jar = str(home / "quarkus-run.jar")
        self._process = Process([*command, "-jar", jar], self._folder / "registry.log")
        try:
            self._process.wait_until(self._ready, START_S_MAX)
        except BaseException:
            self.stop()
            raise

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=2) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> None:
        """Stop what this object started."""
        if self._process is not None:
            self._process.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def start_registry() -> Registry:
    """A registry for the whole session; raises `Unavailable` where none can be had."""
    return Registry(os.environ.get("ERRATA_TEST_REGISTRY"))
