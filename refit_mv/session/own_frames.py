"""What every view saw at its own times, before anything is known of how their clocks compare."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from refit_mv.body.keypoint_sets import KeypointSet
from refit_mv.errors import InputError, NobodyError
from refit_mv.session.between import between
from refit_mv.session.clock_pairing import own_times
from refit_mv.session.clocks import Clocks
from refit_mv.session.observations import Observations
from refit_mv.session.pairing import DEFAULT_FPS
from refit_mv.session.reading import Reading
from refit_mv.session.recording import keypoint_sources, picture_rate
from refit_mv.session.session import Session


@dataclass(frozen=True, eq=False)
class OwnFrames:
    """One view's frames: the ``numbers`` of their pictures, ``times`` in seconds of the view's own clock, ascending,
    and who was seen in them. ``fps`` is the rate at which numbers count, None where time stamps tell.
    """

    view: str
    numbers: Int[np.ndarray, " own"]
    times: Float[np.ndarray, " own"]
    pixels: Float[np.ndarray, "own person joint 2"]
    confidence: Float[np.ndarray, "own person joint"]
    fps: float | None

    @property
    def step(self) -> float:
        """Seconds between neighbouring frames, usually."""
        return float(np.median(np.diff(self.times))) if len(self.times) > 1 else 1.0


@dataclass(frozen=True, eq=False)
class Unpaired:
    """All views' own frames, with what should be known of them."""

    keypoints: KeypointSet
    views: tuple[OwnFrames, ...]
    warnings: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(view.view for view in self.views)

    def at(self, line: Float[np.ndarray, " frame"], clocks: Clocks) -> Observations:
        """What the views show at even instants of the reference clock."""
        times = {view.view: clocks[view.view].reference_time(view.times) for view in self.views}
        placed = between(line, times, {view.view: np.arange(len(view.times)) for view in self.views})
        people = max(view.confidence.shape[1] for view in self.views)
        joints = len(self.keypoints)
        pixels = np.zeros((*placed.numbers.shape, people, joints, 2))
        confidence = np.zeros((*placed.numbers.shape, people, joints))
        for column, view in enumerate(self.views):
            rows = placed.numbers[:, column]
            rows, count = rows[rows >= 0], view.confidence.shape[1]
            pixels[: len(rows), column, :count] = view.pixels[rows]
            confidence[: len(rows), column, :count] = view.confidence[rows]
        fps = 1 / float(line[1] - line[0]) if len(line) > 1 else 1.0
        return Observations(
            *placed.interpolated(pixels, confidence), self.keypoints, self.names, fps, np.arange(len(line))
        )


def read_own_frames(session: Session, keypoints: str | None = None, fps: float | int | None = None) -> Unpaired:
    """Read the keypoint files of all views that have some, each at the rate of its own pictures (else ``fps``, else 30
    with a warning), or its time stamps. What ``sync.yaml`` says is not looked at. ``keypoints`` names their set.

    Raises:
        InputError: unreadable or contradictory files.
        NobodyError: no people at all.
    """
    sources, warnings = keypoint_sources(session), []
    rates: dict[str, float] = {}
    for view, _ in sources:
        rate = picture_rate(view) if fps is None else float(fps)
        if rate is None and session.timestamps is None:
            warnings.append(
                f"no video tells the frame rate of {view.name}: {DEFAULT_FPS:.0f} frames per second assumed; give "
                "--fps if it is another"
            )
        rates[view.name] = rate or DEFAULT_FPS
    files = [np.array(source.numbers, dtype=np.int64) for _, source in sources]
    # Times are the pictures', whatever another tool renumbered.
    numbers = {view.name: own + (view.picture_shift or 0) for (view, _), own in zip(sources, files, strict=True)}
    stamps = None if session.timestamps is None else session.timestamps.times
    times, said = own_times(numbers, rates, stamps)
    table = np.full((max(map(len, files)), len(files)), -1, dtype=np.int64)
    for column, own in enumerate(files):
        table[: len(own), column] = own
    reading = Reading(table.shape, keypoints)
    for column, (_, source) in enumerate(sources):
        reading.read_view(column, source, table[:, column])
    if reading.keypoints is None:
        raise NobodyError(f"nobody was detected in any frame of {len(sources)} views; check the detector's output")
    for column, (view, _) in enumerate(sources):
        said += reading.clean_view(column, view.name, session)
    views = tuple(
        OwnFrames(
            view.name,
            numbers[view.name],
            times[view.name],
            reading.pixels[: len(own), column],
            reading.confidence[: len(own), column],
            rates[view.name] if stamps is None else None,
        )
        for column, ((view, _), own) in enumerate(zip(sources, files, strict=True))
    )
    return Unpaired(reading.keypoints, views, (*warnings, *said))


def as_paired(observations: Observations) -> Unpaired:
    """Views whose frames were already taken for one another's: as if their clocks were in step."""
    numbers = observations.frame_numbers
    step = int(np.gcd.reduce(np.diff(numbers))) if len(numbers) > 1 else 1
    times = numbers / (observations.fps * max(step, 1))
    return Unpaired(
        observations.keypoints,
        tuple(
            OwnFrames(
                name,
                numbers,
                times,
                observations.pixels[:, view],
                observations.confidence[:, view],
                observations.fps * max(step, 1),
            )
            for view, name in enumerate(observations.view_names)
        ),
    )


def require_film(views: Sequence[OwnFrames], least: int) -> None:
    """Refuse views with fewer frames than motion needs.

    Raises:
        InputError: names the view.
    """
    short = next((view for view in views if len(view.times) < least), None)
    if short is not None:
        raise InputError(f"view {short.view} has {len(short.times)} frames; clocks need {least} at least")
