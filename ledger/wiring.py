"""The one place that turns settings into a concrete log and registry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ledger.dataset import Dataset, Finding
from ledger.errors import InvalidSetting
from ledger.logs.base import Log
from ledger.registry import ConfluentRegistry
from ledger.settings import Settings
from ledger.stand_in import StandIn, headless

SQLITE = "sqlite:///"
KAFKA = "kafka://"


def build_log(settings: Settings) -> Log:
    """The log that the settings name; nothing is connected to yet.

    Raises:
        InvalidSetting: the address is of no known kind, or an extra is missing.
    """
    if settings.log.startswith(SQLITE):
        from ledger.logs.sqlite import SqliteLog

        path = sqlite_path(settings.log.removeprefix(SQLITE))
        return SqliteLog(path, settings.dataset, timeout_s=settings.timeout_s)
    if settings.log.startswith(KAFKA):
        try:
            from ledger.logs.kafka import KafkaLog
        except ImportError as error:
            raise InvalidSetting(
                "a Kafka log needs the extra `kafka`: pip install 'errata[kafka]'"
            ) from error
        bootstrap = settings.log.removeprefix(KAFKA).rstrip("/")
        if not bootstrap:
            raise InvalidSetting(f"log {settings.log!r} names no broker: write kafka://host:port")
        return KafkaLog(
            bootstrap, settings.dataset, client=settings.kafka, timeout_s=settings.timeout_s
        )
    raise InvalidSetting(
        f"log {settings.log!r}: an address is sqlite:///path/to/log.db or "
        "kafka://host:port[,host:port]"
    )


def sqlite_path(given: str) -> Path:
    """The file behind `sqlite:///`: relative to the working directory, or absolute with a fourth
    slash. A path whose folder is only there from the root is taken from the root, so that
    `sqlite:///var/lib/errata/log.db` means what it looks like.
    """
    if not given:
        raise InvalidSetting(f"log {SQLITE!r} names no file: write sqlite:///path/to/log.db")
    path = Path(given)
    rooted = Path("/") / given
    if not path.parent.is_dir() and rooted.parent.is_dir():
        return rooted
    return path


def views_path(settings: Settings) -> Path:
    """Where the dataset's views are, whether or not they have been made."""
    return Path(settings.views) if settings.views else _beside(settings, "views.db")


def checkpoints_url(settings: Settings) -> str:
    """The folder, or the object storage, of the dataset's checkpoints, made or not."""
    return settings.checkpoints or str(_beside(settings, "checkpoints"))


def checkpoints_for(settings: Settings) -> Finding:
    """Where the head of a log is missing: the checkpoints that the settings name, if they stand in
    for it.
    """

    def stand_in(dataset: Dataset, heads: Sequence[int]) -> StandIn:
        try:
            from ledger.checkpoints.standing import stand_in
        except ImportError as error:
            partition = next(number for number, head in enumerate(heads) if head)
            why = f"to read them needs the extra `frames` ({error}): pip install 'errata[frames]'"
            raise headless(dataset.log, partition, heads[partition], why) from error
        return stand_in(dataset, heads, checkpoints_url(settings))

    return stand_in


def _beside(settings: Settings, name: str) -> Path:
    """`<log file>.<dataset>.<name>`; for a log on Kafka `errata.<dataset>.<name>` here."""
    if settings.log.startswith(SQLITE):
        path = sqlite_path(settings.log.removeprefix(SQLITE))
    else:
        path = Path("errata")
    return path.with_name(f"{path.name}.{settings.dataset}.{name}")


def build_registry(settings: Settings) -> ConfluentRegistry | None:
    """The schema registry that the settings name, if they name one.

    Raises:
        InvalidSetting: the address is none.
    """
    if settings.registry is None:
        return None
    if not settings.registry.startswith(("http://", "https://")):
        raise InvalidSetting(
            f"registry {settings.registry!r}: an address is http://host:port or https://host:port"
        )
    try:
        return ConfluentRegistry(settings.registry, settings.registry_client)
    except ValueError as error:  # the client names the property
        raise InvalidSetting(f"registry {settings.registry!r}: {error}") from error
