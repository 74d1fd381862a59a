"""The clocks of a recording's views against each other: what is measured, how well, and what is not settled."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig
from refit_mv.rigs.sync_motion import USUAL_DRIFT, Compared, by_motion
from refit_mv.rigs.sync_rig import Refined, by_rig
from refit_mv.session.clocks import Clocks, ViewClock
from refit_mv.session.own_frames import OwnFrames, Unpaired, require_film

# Fewer frames hold no motion.
FEWEST_FRAMES = 30
# The rig's word and the motion's may differ by their deviations, and by this much beside, in frames of usual videos:
# points of moving people are seen alike from nowhere.
ALLOWED_APART, SURE = 1.0 / 30, 4.0
# Frames that somebody reads off a video by hand are right to about this many.
EVENT_FRAMES = 1.0


@dataclass(frozen=True)
class Event:
    """One instant that several views show: the number of the picture in each."""

    frames: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Measured:
    """Clocks of the views that are settled, the reference among them. ``problems`` say why others are not, and what
    contradicts; ``notes`` what else should be known.
    """

    clocks: Clocks
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def unsettled(self, views: Sequence[str]) -> list[str]:
        """The views that nothing is known of."""
        return [view for view in views if view not in self.clocks]


def measured_clocks(
    unpaired: Unpaired,
    rig: CameraRig | None,
    reference: str | None = None,
    events: Sequence[Event] = (),
    roughly: Clocks | None = None,
) -> Measured:
    """Clocks of all views from people's motion, then, with a ``rig``, from where their points meet. ``events``, or
    clocks known ``roughly``, narrow the search; events must not be contradicted.

    Raises:
        InputError: one view, too few frames, events or a reference of no view.
    """
    views = list(unpaired.views)
    if len(views) < 2:
        raise InputError(f"clocks are compared: two views are needed, {len(views)} has keypoints")
    require_film(views, FEWEST_FRAMES)
    chosen = chosen_reference(views, reference)
    names = [view.view for view in views]
    near = clocks_of_events(views, events, names[chosen])
    if roughly is not None:
        near = [roughly.of(name) for name in names]
    # What is known is of some instant; what is looked for, of the take's middle.
    slack = 3 * EVENT_FRAMES * max(view.step for view in views) + _drifted(views)
    rough = by_motion(views, chosen, near if any(near) else None, slack)
    told = with_sigmas(rough, views)
    notes: list[str] = []
    clocks = Clocks(names[chosen], told)
    settled = [view for view in names if view in clocks]
    if rig is not None and len(settled) > 1:
        some = replace(unpaired, views=tuple(view for view in views if view.view in settled))
        finer = by_rig(some, rig.subset(settled), clocks)
        if finer is None:
            notes.append("too few views show the same person at the same time for the rig to say more")
        else:
            finer_told = with_sigmas(finer, views)
            off = _apart(told, finer_told, finer.middle)
            if off:
                notes.append(
                    f"points of the rig meet best with other clocks ({off}): is the calibration right? Motion alone is "
                    "believed"
                )
            else:
                clocks = Clocks(names[chosen], finer_told)
    return Measured(clocks, (*rough.said, *contradicted_events(views, clocks, events)), tuple(notes))


def chosen_reference(views: Sequence[OwnFrames], wanted: str | None) -> int:
    """Whose clock is everybody's: the one asked for, or the first of the fastest.

    Raises:
        InputError: no such view.
    """
    names = [view.view for view in views]
    if wanted is not None:
        if wanted not in names:
            raise InputError(f"--reference {wanted}: no such view with keypoints; there are {', '.join(names)}")
        return names.index(wanted)
    fastest = min(view.step for view in views)
    return next(place for place, view in enumerate(views) if view.step < 1.01 * fastest)


def _drifted(views: Sequence[OwnFrames]) -> float:
    """Seconds by which usual clocks drift apart over a take."""
    return USUAL_DRIFT * max(float(view.times[-1] - view.times[0]) for view in views)


def with_sigmas(found: Compared | Refined, views: Sequence[OwnFrames]) -> tuple[ViewClock, ...]:
    """Clocks with their rates and deviations: an offset's at the view's own time 0, as it is written."""
    rates, count, told = {view.view: view.fps for view in views}, len(found.clocks), []
    for place, clock in enumerate(found.clocks):
        # offset = offset at the middle − drift · (middle − where the clock begins)
        arm = found.middle - clock.offset
        own = found.covariance[np.ix_([place, place + count], [place, place + count])]
        variance = own[0, 0] - 2 * arm * own[0, 1] + arm**2 * own[1, 1]
        offset_sigma, drift_sigma = (float(np.sqrt(max(each, 0.0))) for each in (variance, own[1, 1]))
        told.append(replace(clock, fps=rates[clock.view], offset_sigma=offset_sigma, drift_sigma=drift_sigma))
    return tuple(told)


def _apart(rough: Sequence[ViewClock], finer: Sequence[ViewClock], middle: float) -> str:
    """The views whose times the two put too far apart, in words."""
    at, found = np.array([middle]), []
    for one, other in zip(rough, finer, strict=True):
        off = float(one.own_time(at)[0] - other.own_time(at)[0])
        sigma = float(np.hypot(one.offset_sigma or 0.0, other.offset_sigma or 0.0))
        if abs(off) > ALLOWED_APART + SURE * sigma:
            found.append(f"{one.view} {off:+.3f} s")
    return ", ".join(found)


def clocks_of_events(views: Sequence[OwnFrames], events: Sequence[Event], reference: str) -> list[ViewClock | None]:
    """What events alone say of every view's clock, drift unknown and 0; None where no event leads from the reference.

    Raises:
        InputError: events of views that there are not, of frames that they have not, or of one view.
    """
    by_name = {view.view: view for view in views}
    offsets: dict[str, float] = {reference: 0.0}
    times = [_times(by_name, event) for event in events]
    for _ in views:
        for seen in times:
            known = [offsets[view] + time for view, time in seen.items() if view in offsets]
            if known:
                for view, time in seen.items():
                    offsets.setdefault(view, float(np.mean(known)) - time)
    return [
        ViewClock(
            view.view,
            offsets[view.view],
            fps=view.fps,
            offset_sigma=0.0 if view.view == reference else EVENT_FRAMES * view.step,
            by="event",
        )
        if view.view in offsets and (len(offsets) > 1)
        else None
        for view in views
    ]


def _times(views: dict[str, OwnFrames], event: Event) -> dict[str, float]:
    """Seconds of each view's own clock at which it shows the event."""
    if len(event.frames) < 2:
        raise InputError("--event: one event is seen by two views at least, as cam01@120,cam02@131")
    found = {}
    for view, number in event.frames:
        if view not in views:
            raise InputError(f"--event {view}@{number}: no such view with keypoints; there are {', '.join(views)}")
        own = views[view]
        first, last = int(own.numbers[0]), int(own.numbers[-1])
        if not first <= number <= last:
            raise InputError(f"--event {view}@{number}: the view's frames are {first} to {last}")
        found[view] = float(np.interp(number, own.numbers, own.times))
    return found


def contradicted_events(views: Sequence[OwnFrames], clocks: Clocks, events: Sequence[Event]) -> list[str]:
    """What the clocks say against events, one line for each."""
    by_name = {view.view: view for view in views}
    found = []
    for event in events:
        times = {view: time for view, time in _times(by_name, event).items() if view in clocks}
        at = {view: float(clocks[view].reference_time(np.array([time]))[0]) for view, time in times.items()}
        if len(at) < 2:
            continue
        middle = float(np.median(list(at.values())))
        worst = max(at, key=lambda view: abs(at[view] - middle))
        sigma = clocks[worst].offset_sigma or 0.0
        allowed = 2 * EVENT_FRAMES * by_name[worst].step + SURE * sigma
        if abs(at[worst] - middle) > allowed:
            shown = ",".join(f"{view}@{number}" for view, number in event.frames)
            found.append(
                f"event {shown}: by the measured clocks {worst} shows it {at[worst] - middle:+.3f} s off the others "
                f"(more than {allowed:.3f} s)"
            )
    return found
