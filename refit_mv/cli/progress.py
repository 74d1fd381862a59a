"""What commands print on the way: progress, and how many."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def progress_bars() -> Iterator:
    """A callback that draws bars on a terminal and keeps quiet elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:>16}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield report


def tell_share(line: str, share: float) -> None:
    """A line of a long run, after the share of it that is over."""
    click.echo(f"{100 * share:5.1f} %  {line}")


def plural(count: int, noun: str) -> str:
    """``1 view``, ``2 views``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
