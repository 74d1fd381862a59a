"""What a session shows: its keypoint files as one array, frames paired, people padded, everything checked."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from refit_mv.body.keypoint_sets import KeypointSet
from refit_mv.errors import InputError, NobodyError
from refit_mv.geometry.camera import CameraRig
from refit_mv.session.image_size import check_pixels
from refit_mv.session.keypoint_files import settle_keypoint_set
from refit_mv.session.keypoints.series import KeypointSource
from refit_mv.session.mounts import parted
from refit_mv.session.observations import Observations
from refit_mv.session.pairing import FramePairing, pair_by_number, pair_by_time
from refit_mv.session.session import Session, View, frame_source

# Bounds memory when a crowd stands behind the scene: a long recording of 133 points takes 29 GB for 100 people.
MOST_PEOPLE = 16
# Confidences are shares of one; some networks' scores run higher (AlphaPose's to 6), but never to where percents and
# pixel coordinates begin.
LARGEST_CONFIDENCE = 10.0


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
    sources = _sources(session)
    numbers = {view.name: np.array(source.numbers, dtype=np.int64) for view, source in sources}
    if session.timestamps is not None:
        # Times are the pictures': renumbered files are paired by their pictures.
        shifts = np.array([view.picture_shift or 0 for view, _ in sources])
        numbers = {view: own + shift for (view, own), shift in zip(numbers.items(), shifts.tolist(), strict=True)}
        pairing = pair_by_time(numbers, {name: session.timestamps.times[name] for name in numbers}, frames)
        own_numbers = np.where(pairing.source_numbers < 0, -1, pairing.source_numbers - shifts)
        return replace(pairing, source_numbers=own_numbers)
    return pair_by_number(numbers, frames, {view.name: _rate(view) for view, _ in sources}, fps)


def _sources(session: Session) -> list[tuple[View, KeypointSource]]:
    sources = [(view, view.keypoints) for view in session.views if view.keypoints is not None]
    if not sources:
        raise InputError(
            f"{session.path} has no keypoint files; detect them first (refit-mv detect), or put them into "
            "pose/<camera>_json"
        )
    return sources


def _rate(view: View) -> float | None:
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
    sources = _sources(session)
    pairing = pair_session(session, frames, fps)
    warnings = list(pairing.warnings)
    if session.timestamps is not None and fps is not None:
        warnings.append(
            f"{session.timestamps.path} tells the frame rate ({pairing.fps:.4g}); the given {fps:.4g} is ignored"
        )
    reading = _Reading((pairing.source_numbers.shape[0], len(sources)), keypoints, anywhere)
    for index, (_, source) in enumerate(sources):
        reading.read_view(index, source, pairing.source_numbers[:, index])
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
    observations = Observations(
        reading.pixels, reading.confidence, reading.keypoints, names, pairing.fps, pairing.frame_numbers
    )
    pictures = _picture_numbers(pairing, [view for view, _ in sources])
    shown = Recording(session.of_views(names), observations, pictures, (*session.warnings, *warnings))
    return parted(shown, session.mounts)


def _picture_numbers(pairing: FramePairing, views: list[View]) -> Int[np.ndarray, "frame view"]:
    columns = [
        np.where(numbers < 0, -1, -1 if view.picture_shift is None else numbers + view.picture_shift)
        for view, numbers in zip(views, pairing.source_numbers.T, strict=True)
    ]
    return np.stack(columns, axis=1)


class _Reading:
    """The arrays while they fill: sized for all frames once the first person tells the number of points, widened when
    more people appear."""

    def __init__(self, shape: tuple[int, int], wanted: str | None, anywhere: bool) -> None:
        self.wanted = wanted
        self.anywhere = anywhere
        self.keypoints: KeypointSet | None = None
        self.first_file = ""
        self.crowded = 0
        self.pixels: Float[np.ndarray, "frame view person joint 2"] = np.zeros((*shape, 0, 0, 2), dtype=np.float32)
        self.confidence: Float[np.ndarray, "frame view person joint"] = np.zeros((*shape, 0, 0), dtype=np.float32)

    def read_view(self, index: int, source: KeypointSource, numbers: Int[np.ndarray, " frame"]) -> None:
        settled = False
        for frame, number in enumerate(numbers.tolist()):
            if number < 0:
                continue
            people = source.people(number)
            if not people:
                continue
            if not settled:
                self._settle(len(people[0]), source, source.where(number))
                settled = True
            self._fit(people, source, number)
            if len(people) > MOST_PEOPLE:
                self.crowded += 1
                people = sorted(people, key=lambda points: -float(points[:, 2].mean()))[:MOST_PEOPLE]
            for person, points in enumerate(people):
                self.pixels[frame, index, person] = points[:, :2]
                self.confidence[frame, index, person] = points[:, 2]

    def _settle(self, count: int, source: KeypointSource, where: str) -> None:
        """The keypoint set, which the first person of the recording tells and every further view has to confirm."""
        if self.keypoints is None:
            self.keypoints = settle_keypoint_set(count, source, self.wanted, where)
            self.first_file = where
            self._widen(0, count)
        elif count == len(self.keypoints):
            other = settle_keypoint_set(count, source, self.wanted, where)
            if other != self.keypoints:
                raise InputError(
                    f"keypoint file {where} has other points, or in another order, than {self.first_file} "
                    f"({other.name}, {self.keypoints.name}); one recording needs one detector"
                )

    def _fit(self, people: list[np.ndarray], source: KeypointSource, number: int) -> None:
        count = self.confidence.shape[3]
        for points in people:
            if len(points) != count:
                raise InputError(
                    f"keypoint file {source.where(number)} has {len(points)} points per person, {self.first_file} has "
                    f"{count}; one recording needs one detector"
                )
        if len(people) > self.confidence.shape[2] and self.confidence.shape[2] < MOST_PEOPLE:
            self._widen(min(len(people), MOST_PEOPLE), count)

    def _widen(self, people: int, points: int) -> None:
        old = self.confidence
        self.confidence = np.zeros((*old.shape[:2], people, points), dtype=np.float32)
        pixels, self.pixels = self.pixels, np.zeros((*old.shape[:2], people, points, 2), dtype=np.float32)
        self.confidence[:, :, : old.shape[2], : old.shape[3]] = old
        self.pixels[:, :, : old.shape[2], : old.shape[3]] = pixels

    def clean_view(self, index: int, view: str, session: Session) -> list[str]:
        """Apply what marks a missing point, then check what is left; the warnings."""
        pixels, confidence = self.pixels[:, index], self.confidence[:, index]
        warnings = []
        missing = (confidence <= 0) | (pixels == 0).all(-1)
        why = " (confidences are 0 or below, expected up to 1)" if missing.all() and (confidence < 0).any() else ""
        confidence[missing] = 0
        pixels[missing] = 0
        if missing.all():
            return [f"view {view}: nobody was detected in any frame{why}"]
        above = confidence > 1
        if above.any():
            if float(np.median(confidence[~missing])) > LARGEST_CONFIDENCE:
                percent = " (percents?)" if confidence.max() <= 100 else ""
                raise InputError(
                    f"view {view}: confidences around {np.median(confidence[~missing]):.0f}{percent}; every point must "
                    "be x, y, confidence (0 to 1) in this order"
                )
            warnings.append(
                f"view {view}: {above.mean():.1%} of confidences exceed 1 (up to {confidence.max():.2f}) and are "
                "cut to 1"
            )
            np.minimum(confidence, 1, out=confidence)
        if not self.anywhere:
            check_pixels(view, session.rig[view], pixels, confidence)
        return warnings
