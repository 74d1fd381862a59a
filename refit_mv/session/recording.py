"""What a session shows: its keypoint files as one array, frames paired, people padded, everything checked."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from refit_mv.errors import InputError, NobodyError
from refit_mv.geometry.camera import CameraRig
from refit_mv.session.clock_pairing import own_times, pair_by_clock
from refit_mv.session.clocks import Clocks
from refit_mv.session.keypoints.series import KeypointSource
from refit_mv.session.mounts import parted
from refit_mv.session.observations import Observations
from refit_mv.session.pairing import RATE_TOLERANCE, FramePairing, pair_by_number, pair_by_time
from refit_mv.session.reading import MOST_PEOPLE, Reading
from refit_mv.session.session import Session, View, frame_source
from refit_mv.session.sync_file import FILE


@dataclass(frozen=True, eq=False)
class Recording:
    """A session and what detectors saw in it. ``session`` holds exactly the views of ``observations``, in the same
    order; ``source_numbers`` tell which of each view's own pictures a frame is (−1: none); ``warnings`` are all that a
    person should know so far.
    """

    session: Session
    observations: Observations
    source_numbers: Int[np.ndarray, "frame view"]
    warnings: tuple[str, ...]

    @property
    def rig(self) -> CameraRig:
        return self.session.rig


def pair_session(session: Session, frames: slice | None = None, fps: float | int | None = None) -> FramePairing:
    """Which frames of the views with keypoints belong together; see :func:`read_recording` for the arguments."""
    sources = keypoint_sources(session)
    numbers = {view.name: np.array(source.numbers, dtype=np.int64) for view, source in sources}
    if session.timestamps is None and session.clocks is None:
        return pair_by_number(numbers, frames, {view.name: picture_rate(view) for view, _ in sources}, fps)
    # Times are the pictures': renumbered files are paired by their pictures.
    shifts = np.array([view.picture_shift or 0 for view, _ in sources])
    numbers = {view: own + shift for (view, own), shift in zip(numbers.items(), shifts.tolist(), strict=True)}
    if session.clocks is not None:
        pairing = _by_clock(session, session.clocks, numbers, frames)
    else:
        assert session.timestamps is not None
        pairing = pair_by_time(numbers, {name: session.timestamps.times[name] for name in numbers}, frames)
    own_numbers = np.where(pairing.source_numbers < 0, -1, pairing.source_numbers - shifts)
    placed = pairing.between
    if placed is not None:
        placed = replace(placed, numbers=np.where(placed.numbers < 0, -1, placed.numbers - shifts))
    return replace(pairing, source_numbers=own_numbers, between=placed)


def _by_clock(
    session: Session, clocks: Clocks, numbers: dict[str, Int[np.ndarray, " file"]], frames: slice | None
) -> FramePairing:
    """By what the session's ``sync.yaml`` says."""
    where = session.path / FILE
    lacking = next((view for view in numbers if view in clocks and clocks[view].fps is None), None)
    if session.timestamps is None and lacking is not None:
        raise InputError(f"{where}: the rate of view {lacking} is not told (fps), nor are there time stamps; add it")
    rates = {view: (clocks[view].fps if view in clocks else None) or 1.0 for view in numbers}
    times, warnings = own_times(numbers, rates, None if session.timestamps is None else session.timestamps.times)
    try:
        pairing = pair_by_clock(numbers, times, clocks, frames)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    said = f"{FILE} tells when views took their frames: points are read at the times of {clocks.reference}"
    apart = ", ".join(
        f"{view} {_apart(clocks, view, float(times[view].mean()))}" for view in numbers if view != clocks.reference
    )
    return replace(pairing, warnings=(*warnings, f"{said} ({apart})" if apart else said, *pairing.warnings))


def _apart(clocks: Clocks, view: str, own: float) -> str:
    """How late a view runs in the middle of the take."""
    clock = clocks[view]
    late = clock.offset + clock.drift * own
    frames = f"{late * clock.fps:+.2f} frames" if clock.fps is not None else f"{1000 * late:+.1f} ms"
    return frames if clock.drift == 0 else f"{frames}, drift {100 * clock.drift:+.3f} %"


def keypoint_sources(session: Session) -> list[tuple[View, KeypointSource]]:
    """The views that have keypoint files, with these.

    Raises:
        InputError: there are none.
    """
    sources = [(view, view.keypoints) for view in session.views if view.keypoints is not None]
    if not sources:
        raise InputError(
            f"{session.path} has no keypoint files; detect them first (refit-mv detect), or put them into "
            "pose/<camera>_json"
        )
    return sources


def picture_rate(view: View) -> float | None:
    """Frames per second of a view's pictures, None where they do not say."""
    try:
        source = frame_source(view)
    except InputError:
        return None  # told as a warning when the session was opened
    return source.fps if source is not None else None


def read_recording(
    session: Session,
    keypoints: str | None = None,
    frames: slice | None = None,
    fps: float | int | None = None,
    anywhere: bool = False,
) -> Recording:
    """Read the keypoint files of all views that have some, float32.

    ``keypoints`` names the keypoint set; without it the number of points decides. ``frames`` selects by frame number
    (start, stop exclusive, step; with time stamps by position on the common time line); other files are not opened.
    ``fps`` is the rate at which frames are numbered; without it the videos' or the time stamps' rate, else 30 with a
    warning. ``anywhere``: points may lie outside of their pictures.

    A file without people and a missing file both mean "not detected", as do points of confidence 0 or below and points
    at exactly (0, 0), which is how OpenPose and rtmlib mark missing points. Confidences above 1 are cut to 1.

    Raises:
        InputError: unreadable or contradictory files, points that cannot belong to the camera.
        NobodyError: no people at all.
    """
    sources = keypoint_sources(session)
    pairing = pair_session(session, frames, fps)
    warnings = list(pairing.warnings)
    if session.timestamps is not None and fps is not None:
        warnings.append(
            f"{session.timestamps.path} tells the frame rate ({pairing.fps:.4g}); the given {fps:.4g} is ignored"
        )
    elif session.clocks is not None and fps is not None and abs(fps / pairing.fps - 1) > RATE_TOLERANCE:
        warnings.append(f"{FILE} tells the frame rate ({pairing.fps:.4g}); the given {fps:.4g} is ignored")
    read = pairing.source_numbers if pairing.between is None else pairing.between.numbers
    reading = Reading((read.shape[0], len(sources)), keypoints, anywhere)
    for index, (_, source) in enumerate(sources):
        reading.read_view(index, source, read[:, index])
    if reading.keypoints is None:
        raise NobodyError(
            f"nobody was detected in any of the {pairing.source_numbers.shape[0]} frames of {len(sources)} views; "
            "check the detector's output"
        )
    for index, (view, _) in enumerate(sources):
        warnings += reading.clean_view(index, view.name, session)
    if reading.crowded:
        warnings.append(
            f"{reading.crowded} pictures show more than {MOST_PEOPLE} people: the {MOST_PEOPLE} most confident of "
            "each are kept"
        )
    names = tuple(view.name for view, _ in sources)
    pixels, confidence = reading.pixels, reading.confidence
    if pairing.between is not None:
        pixels, confidence = pairing.between.interpolated(pixels, confidence)
    observations = Observations(pixels, confidence, reading.keypoints, names, pairing.fps, pairing.frame_numbers)
    pictures = _picture_numbers(pairing, [view for view, _ in sources])
    shown = Recording(session.of_views(names), observations, pictures, (*session.warnings, *warnings))
    return parted(shown, session.mounts)


def _picture_numbers(pairing: FramePairing, views: list[View]) -> Int[np.ndarray, "frame view"]:
    columns = [
        np.where(numbers < 0, -1, -1 if view.picture_shift is None else numbers + view.picture_shift)
        for view, numbers in zip(views, pairing.source_numbers.T, strict=True)
    ]
    return np.stack(columns, axis=1)
