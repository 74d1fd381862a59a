"""Where people are in a picture: BlazePose's detector (Bazarevsky et al., 2020), looking at several windows of it.

The network is made for one person near a camera: in a whole picture it misses whoever is small, and of several people
mostly all but one. So it also looks at overlapping squares that a person fills better.
"""

import math

import numpy as np
from jaxtyping import UInt8

from refit_mv.detect.anchors import PICTURE, anchors, decoded
from refit_mv.detect.crop import MARGIN, Crop, crop_up_to, cut
from refit_mv.detect.litert import Network
from refit_mv.detect.suppression import weighted_suppression

# Lowest probability of a box that the landmarks are asked about.
LEAST_SCORE = 0.4
# MediaPipe's: boxes that share more than this are one person's.
SAME_BOX = 0.3
# Sides of the smallest windows as a share of the picture's shorter side, and how far neighbours overlap at least.
SMALLEST_WINDOW = 0.62
WINDOW_OVERLAP = 0.5
# Who is larger than this many windows is seen in part only, and better in a larger one if there is one.
LARGEST_IN_WINDOW = 1.4


def windows(width: int, height: int) -> list[Crop]:
    """The squares that are looked at, largest first, row by row: the whole picture, the largest squares inside it, and
    smaller ones."""
    longer, shorter = max(width, height), min(width, height)
    found = []
    for side in dict.fromkeys((float(longer), float(shorter), SMALLEST_WINDOW * shorter)):
        rows, columns = _middles(height, side), _middles(width, side)
        found += [Crop(x, y, side) for y in rows for x in columns]
    return found


def _middles(length: int, side: float) -> list[float]:
    """Middles of the intervals of ``side`` that cover a line of pixels."""
    if side >= length:
        return [(length - 1) / 2]
    count = 1 + math.ceil((length - side) / (side * (1 - WINDOW_OVERLAP)) - 1e-9)
    return np.linspace((side - 1) / 2, length - 0.5 - side / 2, count).tolist()


class PersonFinder:
    """``network`` is BlazePose's detector."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._anchors = anchors()

    def crops(self, frame: UInt8[np.ndarray, "height width 3"]) -> list[Crop]:
        """A crop around everybody found, likeliest first: centred on the hips, upright in the crop. Windows that share
        a person each give one."""
        found = [each for window in windows(frame.shape[1], frame.shape[0]) for each in self._in_window(frame, window)]
        # Stable, so that of equally likely ones the one in the larger window comes first.
        return [crop for crop, _ in sorted(found, key=lambda each: -each[1])]

    def _in_window(self, frame: UInt8[np.ndarray, "height width 3"], window: Crop) -> list[tuple[Crop, float]]:
        picture = cut(frame, window, PICTURE).astype(np.float32) / 127.5 - 1
        raw, logits = self._network(picture)
        # The rest of the numbers would not matter, but overflow.
        scores = 1 / (1 + np.exp(-logits[:, 0].astype(np.float64).clip(-100, 100)))
        likely = scores >= LEAST_SCORE
        boxes, points = decoded(raw[likely], self._anchors[likely])
        kept, best = weighted_suppression(boxes, scores[likely], points.reshape(len(points), 8), SAME_BOX)
        people = window.to_picture(kept.reshape(len(kept), 4, 2))
        crops = [(crop_up_to(person[0], person[1], MARGIN), score) for person, score in zip(people, best, strict=True)]
        return [
            (crop, float(score))
            for crop, score in crops
            if crop is not None and (crop.size <= LARGEST_IN_WINDOW * window.size or window.size >= max(frame.shape))
        ]
