"""Bars with the time left on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Tell = Callable[[int, int, str], None]
_LINE_EVERY_S = 5.0


@contextmanager
def bar(title: str) -> Iterator[Tell]:
    """Yield `tell(done, total, note)`; without a terminal it is a line on standard error now and then."""
    console = Console(stderr=True)
    if not console.is_terminal:
        due_s = 0.0

        def line(done: int, total: int, note: str = "") -> None:
            nonlocal due_s
            if time.monotonic() >= due_s or done == total:
                print(f"{title} {done}/{total} {note}".rstrip(), file=console.file, flush=True)
                due_s = time.monotonic() + _LINE_EVERY_S

        yield line
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=None, note="")
        yield lambda done, total, note="": progress.update(task, completed=done, total=total, note=note)


def resumed(tell: Tell, done: int, total: int) -> None:
    """Say that a training goes on where it was stopped, or is over already; nothing of one that begins."""
    if done:
        tell(done, total, f"goes on from epoch {done + 1}" if done < total else "is trained already")
