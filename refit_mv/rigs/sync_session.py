"""The clocks of a session's views by whatever tells them: motion, sound, light."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from refit_mv.errors import InputError
from refit_mv.progress import Progress, quiet
from refit_mv.rigs.sync import (
    Event,
    Measured,
    chosen_reference,
    clocks_of_events,
    contradicted_events,
    measured_clocks,
    with_sigmas,
)
from refit_mv.rigs.sync_media import LIGHT, SOUND, brightness, hearing
from refit_mv.rigs.sync_motion import Kind, compared
from refit_mv.rigs.sync_signals import Movement
from refit_mv.session.clock_pairing import own_times
from refit_mv.session.clocks import Clocks
from refit_mv.session.own_frames import OwnFrames, read_own_frames
from refit_mv.session.pairing import DEFAULT_FPS
from refit_mv.session.session import Session, View, frame_source

WAYS = ("auto", "motion", "audio", "flash")


@dataclass(frozen=True)
class SyncRequest:
    """How to measure. ``by``: one of ``WAYS``. ``reference`` None: the first of the fastest views."""

    by: str = "auto"
    keypoints: str | None = None
    fps: float | None = None
    reference: str | None = None
    events: tuple[Event, ...] = ()
    trust_rig: bool = True


def sync_session(session: Session, request: SyncRequest, progress: Progress = quiet) -> Measured:
    """Measure the clocks of a session's views. ``auto``: by motion where there are keypoints; what it leaves open, by
    sound, then by light, and by motion near these.

    Raises:
        InputError: one view, events or a reference of no view; asked for one way alone, whatever it lacks.
    """
    if request.by not in WAYS:
        raise InputError(f"--by {request.by}: expected {', '.join(WAYS)}")
    ways: dict[str, Callable[[], Measured]] = {
        "motion": lambda: _by_motion(session, request, None),
        "audio": lambda: _by_media(session, request, SOUND, progress),
        "flash": lambda: _by_media(session, request, LIGHT, progress),
    }
    if request.by != "auto":
        return ways[request.by]()
    keypoints = any(view.keypoints is not None for view in session.views)
    first = ways["motion"]() if keypoints else None
    if first is not None and not first.problems:
        return first
    tried = [] if first is None else list(first.problems)
    for way in ("audio", "flash"):
        try:
            found = ways[way]()
        except InputError as error:
            tried.append(str(error))
            continue
        if found.problems:
            tried += found.problems
            continue
        if keypoints:
            closer = _by_motion(session, request, found.clocks)
            if not closer.problems:
                return closer
        return found
    problems = tuple(dict.fromkeys(tried))
    if first is None:
        raise InputError(f"{session.path} has no keypoints, and its videos do not tell their clocks: {problems[0]}")
    return replace(first, problems=problems)


def _by_motion(session: Session, request: SyncRequest, roughly: Clocks | None) -> Measured:
    unpaired = read_own_frames(session, request.keypoints, request.fps)
    rig = session.rig.subset(unpaired.names) if request.trust_rig else None
    found = measured_clocks(unpaired, rig, request.reference, request.events, roughly)
    return replace(found, notes=(*unpaired.warnings, *found.notes))


def _by_media(session: Session, request: SyncRequest, kind: Kind, progress: Progress) -> Measured:
    """By sound or light, drifts included."""
    filmed = [view for view in session.views if view.video is not None or (view.images is not None and kind is LIGHT)]
    if len(filmed) < 2:
        raise InputError(f"{session.path}: clocks are compared: {len(filmed)} views have videos, two are needed")
    frames = [_pictures(session, view, request.fps) for view in filmed]
    reference = chosen_reference(frames, request.reference)
    signals: list[Movement] = []
    for place, (view, own) in enumerate(zip(filmed, frames, strict=True)):
        if kind is SOUND:
            assert view.video is not None
            signals.append(hearing(view.name, view.video))
            progress("sound", place + 1, len(filmed))
        else:
            source = frame_source(view)
            assert source is not None
            signals.append(brightness(view.name, source, own.times, progress))
    near = clocks_of_events(frames, request.events, frames[reference].view)
    found = compared(signals, reference, kind, near if any(near) else None, _slack(frames))
    clocks = Clocks(frames[reference].view, with_sigmas(found, frames))
    return Measured(clocks, (*found.said, *contradicted_events(frames, clocks, request.events)))


def _slack(frames: Sequence[OwnFrames]) -> float:
    return max(0.1, 4 * max(own.step for own in frames))


def _pictures(session: Session, view: View, fps: float | None) -> OwnFrames:
    """A view's pictures and when they were taken, nobody in them."""
    source = frame_source(view)
    assert source is not None
    numbers = np.asarray(source.frame_numbers)
    rate = (source.fps or DEFAULT_FPS) if fps is None else fps
    stamps = None if session.timestamps is None else session.timestamps.times
    times, _ = own_times({view.name: numbers}, {view.name: rate}, stamps)
    nobody = np.zeros((len(numbers), 0, 0))
    return OwnFrames(
        view.name, numbers, times[view.name], nobody[..., None].repeat(2, -1), nobody, rate if stamps is None else None
    )
