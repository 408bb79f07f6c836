"""`errata worker` and `errata rebuild`: what keeps views and checkpoints.

What they need is an extra, so it is imported when they run: without it, they say so.
"""

from __future__ import annotations

import platform
import signal
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ledger.cli import (
    Progress,
    as_json,
    open_ledger,
    position_fields,
    print_json,
    print_line,
    print_table,
    settings,
    shared,
)
from ledger.dataset import Dataset
from ledger.errors import ConfigurationError, VerificationFailed
from ledger.logs.base import Topic
from ledger.positions import ends
from ledger.wiring import checkpoints_url, views_path

if TYPE_CHECKING:
    import polars as pl

    from consumers.follower import Restore
    from ledger.checkpoints.store import Store
    from ledger.checkpoints.writer import CheckpointWriter

Stopped = Callable[[], bool]
_SHOWN_MAX = 20
_views = click.option("--views/--no-views", default=True, show_default=True, help="The views.")
_checkpoints = click.option(
    "--checkpoints/--no-checkpoints", default=True, show_default=True, help="The checkpoints."
)


@click.command()
@shared
@_views
@_checkpoints
@click.option("--group", help="The consumer group to join [default: one for what is kept].")
@click.option("--quarantine", is_flag=True, help="Only quarantine what is no event.")
@click.option("--once", is_flag=True, help="End when all there is now is kept.")
def worker(
    *, views: bool, checkpoints: bool, group: str | None, quarantine: bool, once: bool
) -> None:
    """Keep views and checkpoints up to date, as the log grows.

    Start as many as you like: they share the partitions, and take over from one that stops. With
    --quarantine it copies what no decoder reads to the topic of that name, and keeps nothing else;
    those are a group of their own.
    """
    _refuse_nothing(views=views, checkpoints=checkpoints)
    dataset = open_ledger().dataset
    with _stoppable() as stopped:
        if quarantine:
            _quarantine(dataset, stopped, group, once=once)
        else:
            _keep(dataset, stopped, group, views=views, checkpoints=checkpoints, once=once)


def _quarantine(dataset: Dataset, stopped: Stopped, group: str | None, *, once: bool) -> None:
    with _extra():
        from consumers.quarantine import Quarantine, group_of
    work, until = Quarantine(dataset, group or group_of(dataset)), ends(dataset)
    work.run(lambda: not stopped() and not (once and work.reaches(until)))


def _keep(
    dataset: Dataset,
    stopped: Stopped,
    group: str | None,
    *,
    views: bool,
    checkpoints: bool,
    once: bool,
) -> None:
    with _extra():
        from consumers.sinks import CheckpointSink, PassedOver, Sink, ViewSink
        from consumers.worker import Worker, group_of
        from ledger.checkpoints.reader import Restorer
    sinks: list[Sink] = []
    restore: Restore | None = None
    with ExitStack() as opened:
        if views:
            view = ViewSink(views_path(settings()), dataset)
            opened.callback(view.close)
            sinks, restore = [view], view.restore
        if checkpoints:
            store, writer = _checkpoints_of(dataset)
            sink = CheckpointSink(writer)
            sinks.append(PassedOver(sink) if views else sink)
            restore = restore or Restorer(dataset, store)
        until = ends(dataset)
        behind = sum(
            stop - min(sink.offset(partition) for sink in sinks)
            for partition, stop in enumerate(until.labels)
        )
        group = group or group_of(dataset, _place(views=views))
        with Progress("Catching up", behind) as bar:
            work = Worker(dataset, sinks, group, restore, bar.advance)
            work.run(lambda: not stopped() and not (once and work.reaches(until)))


def _place(*, views: bool) -> str:
    """Where what is kept stands: a file of this machine, or object storage."""
    url = checkpoints_url(settings())
    if not views and "://" in url:
        return url
    return f"{platform.node()}:{(views_path(settings()) if views else Path(url)).absolute()}"


@click.command()
@shared
@_views
@_checkpoints
@click.option("--shadow", is_flag=True, help="Compare first; the checkpoints stay as they are.")
@click.option("--accept-differences", is_flag=True, help="Swap the shadow in though it differs.")
@as_json
def rebuild(
    *, views: bool, checkpoints: bool, shadow: bool, accept_differences: bool, as_json: bool
) -> None:
    """Make views and checkpoints anew, from the log alone.

    The old view is read until the new one is whole, and workers may go on meanwhile.

    With --shadow the new view, made up to where the live one stands, takes its place only if no
    item's label, geometry or split differs between them. Those that do are shown (the first ones;
    all with --json), the exit code is 1, and the live view stays, unless --accept-differences says
    that they were seen.
    """
    _refuse_nothing(views=views, checkpoints=checkpoints)
    if shadow and not views:
        raise click.UsageError("--shadow goes not with --no-views: it makes a view")
    if (accept_differences or as_json) and not shadow:
        raise click.UsageError("--accept-differences and --json go with --shadow only")
    dataset = open_ledger().dataset
    if shadow:
        _shadow(dataset, accept=accept_differences, as_json=as_json)
        return
    with _extra():
        from consumers.rebuild import rebuild
    path = views_path(settings()) if views else None
    writer = _checkpoints_of(dataset)[1] if checkpoints else None
    with Progress("Rebuilding", sum(dataset.log.ends(Topic.LABELS))) as bar:
        position = rebuild(dataset, path, writer, bar.advance)
    print_line(position.text())


def _shadow(dataset: Dataset, *, accept: bool, as_json: bool) -> None:
    with _extra():
        from consumers.shadow import shadow

    def gate(differing: pl.DataFrame) -> None:
        _show(differing, as_json=as_json)
        if len(differing) and not accept:
            raise VerificationFailed(
                f"items that differ in the shadow: {len(differing)}. The live view stays; "
                "--accept-differences swaps the shadow in"
            )

    with Progress("Rebuilding", sum(dataset.log.ends(Topic.LABELS))) as bar:
        position = shadow(dataset, views_path(settings()), gate, bar.advance)
    if as_json:
        print_json({"swapped": True, **position_fields(position)})
    else:
        print_line(position.text())


def _show(differing: pl.DataFrame, *, as_json: bool) -> None:
    """Items, with their labels in the live view and in the shadow."""
    from consumers.shadow import COMPARED

    def sides(row: tuple[str | None, ...]) -> tuple[dict[str, str | None] | None, ...]:
        both = row[1 : 1 + len(COMPARED)], row[1 + len(COMPARED) :]
        return tuple(dict(zip(COMPARED, side, strict=True)) if side[0] else None for side in both)

    if as_json:
        for row in differing.iter_rows():
            live, new = sides(row)
            print_json({"item_id": row[0], "live": live, "shadow": new})
    elif len(differing):
        shown = [(row[0], *map(_text, sides(row))) for row in differing[:_SHOWN_MAX].iter_rows()]
        print_table(shown, ["item", "live", "shadow"])
        if len(differing) > _SHOWN_MAX:
            print_line(f"and {len(differing) - _SHOWN_MAX} more; --json shows all")


def _text(side: dict[str, str | None] | None) -> str:
    return " ".join(value for value in side.values() if value) if side else "absent"


def _refuse_nothing(*, views: bool, checkpoints: bool) -> None:
    if not (views or checkpoints):
        raise click.UsageError("--no-views goes not with --no-checkpoints: nothing is left")


def _checkpoints_of(dataset: Dataset) -> tuple[Store, CheckpointWriter]:
    from ledger.checkpoints.files import open_files
    from ledger.checkpoints.store import Store, origin_of
    from ledger.checkpoints.writer import CheckpointWriter

    store = Store(open_files(checkpoints_url(settings())), origin_of(dataset))
    return store, CheckpointWriter(store)


@contextmanager
def _stoppable() -> Generator[Stopped]:
    """Whether the process was told to end; it then ends what it is doing first."""
    told: list[int] = []
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda number, _: told.append(number)) for number in numbers]
    try:
        yield lambda: bool(told)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def _extra() -> Generator[None]:
    try:
        yield
    except ImportError as error:
        raise ConfigurationError(
            f"keeping views needs the extra `views` ({error}): pip install 'errata[views]'"
        ) from error
