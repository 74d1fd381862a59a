"""The command ``sync``: when every view took its frames."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from refit_mv.cli import options as shared
from refit_mv.cli.progress import progress_bars
from refit_mv.errors import InputError

if TYPE_CHECKING:
    from refit_mv.rigs.sync import Event
    from refit_mv.session.clocks import ViewClock


@click.command()
@click.argument("session", type=shared.FOLDER)
@shared.calib_file
@shared.units
@shared.mapping
@shared.keypoints
@click.option("--fps", type=float, callback=shared.rate, help="Frame rate where the videos do not say it, or wrongly.")
@click.option(
    "--by",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "motion", "audio", "flash"]),
    help="What tells: people's motion, the videos' sound, a light that goes on or off.",
)
@click.option("--reference", metavar="VIEW", help="Whose clock is everybody's [default: the first of the fastest].")
@click.option(
    "--event",
    "events",
    multiple=True,
    metavar="VIEW@FRAME,VIEW@FRAME",
    help="An instant that is seen in these pictures, such as a clap; once for each. Clocks must not contradict it.",
)
@click.option("--no-rig", is_flag=True, help="Do not refine by the calibration: from motion alone.")
@click.option("-o", "--out", type=shared.FILE, help="File to write [default: SESSION/sync.yaml].")
def sync(session: Path, out: Path | None, no_rig: bool, events: tuple[str, ...], **options) -> None:
    """Measure when every view of SESSION took its frames, and write it to sync.yaml, which all commands then read.

    Offsets and drifts are told with their deviations. Nothing is written where they are not clear.
    """
    from calib import shown
    from refit_mv.rigs.sync_session import SyncRequest, sync_session
    from refit_mv.session.session import open_session
    from refit_mv.session.sync_file import FILE, write_clocks

    opening = {name: options.pop(name) for name in ("calib", "units", "mapping")}
    request = SyncRequest(events=_read_events(events), trust_rig=not no_rig, **options)
    opened = open_session(session, synced=False, **opening)
    target = session / FILE if out is None else out
    with progress_bars() as progress:
        found = sync_session(opened, request, progress)
    if found.problems:
        raise InputError(
            f"the clocks are not clear, and nothing is written: {'; '.join(found.problems)}. An event that is seen in "
            "all views helps (--event VIEW@FRAME,VIEW@FRAME)"
        )
    for note in found.notes:
        click.echo(f"note: {note}")
    width = max(len(clock.view) for clock in found.clocks.views)
    for clock in found.clocks.views:
        click.echo(f"{clock.view:<{width}}  {_told(clock, clock.view == found.clocks.reference)}")
    write_clocks(found.clocks, target)
    reads = "; fit reads it by itself" if target == session / FILE else f"; fit reads it as {shown(session / FILE)}"
    click.echo(f"clocks written to {shown(target)}{reads}")


def _told(clock: "ViewClock", reference: bool) -> str:
    if reference:
        return "is the reference"
    rate = 1000.0 if clock.fps is None else clock.fps
    unit = "ms" if clock.fps is None else "frames"
    offset = f"{clock.offset * rate:+.3f} ± {(clock.offset_sigma or 0.0) * rate:.3f} {unit}"
    drift = f"{100 * clock.drift:+.4f} ± {100 * (clock.drift_sigma or 0.0):.4f} %"
    return f"begins {offset} after it, drift {drift} (by {clock.by})"


def _read_events(texts: tuple[str, ...]) -> "tuple[Event, ...]":
    """``VIEW@FRAME`` with commas between, once for each event; of one view alone, all together are one event."""
    from refit_mv.ranges import whole_number
    from refit_mv.rigs.sync import Event

    found = []
    for text in texts:
        frames = []
        for part in text.split(","):
            view, at, number = part.strip().rpartition("@")
            frame = whole_number(number)
            if not (view and at) or frame is None:
                raise InputError(f"--event {text}: expected VIEW@FRAME,VIEW@FRAME, for example cam01@120,cam02@131")
            frames.append((view, frame))
        found.append(tuple(frames))
    if found and all(len(frames) == 1 for frames in found):
        found = [tuple(frames[0] for frames in found)]
    for frames in found:
        twice = next((view for view, _ in frames if [name for name, _ in frames].count(view) > 1), None)
        if twice is not None:
            raise InputError(f"--event: {twice} is given twice for one event; give each event in an --event of its own")
    return tuple(Event(frames) for frames in found)
