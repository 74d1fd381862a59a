"""Keypoint files on their way into arrays: people padded, sets of points compared, everything checked."""

import numpy as np
from jaxtyping import Float, Int

from refit_mv.body.keypoint_sets import KeypointSet
from refit_mv.errors import InputError
from refit_mv.session.image_size import check_pixels
from refit_mv.session.keypoint_files import settle_keypoint_set
from refit_mv.session.keypoints.series import KeypointSource
from refit_mv.session.session import Session

# Bounds memory when a crowd stands behind the scene: a long recording of 133 points takes 29 GB for 100 people.
MOST_PEOPLE = 16
# Confidences are shares of one; some networks' scores run higher (AlphaPose's to 6), but never to where percents and
# pixel coordinates begin.
LARGEST_CONFIDENCE = 10.0


class Reading:
    """A recording's arrays while they fill: sized for all frames once the first person tells the number of points,
    widened when more people appear. Rows are instants, or each view's own frames. ``anywhere``: points may lie outside
    of the picture that the camera has.
    """

    def __init__(self, shape: tuple[int, int], wanted: str | None, anywhere: bool = False) -> None:
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
