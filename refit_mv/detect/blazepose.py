"""BlazePose (Bazarevsky et al., 2020) for several people: 33 points each, from MediaPipe's networks run by LiteRT.

One network finds people, another marks the points of the one in the middle of a crop; from frame to frame the crops
follow the points, as in MediaPipe, and every few frames the finder looks whether somebody is missing.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from refit_mv.body.keypoint_sets import KeypointSet, keypoint_set
from refit_mv.body.sides import mirrored_order
from refit_mv.detect.blazepose_files import FINDER, LANDMARKS, networks
from refit_mv.detect.crop import MARGIN, Crop, crop_up_to, cut
from refit_mv.detect.detector import CropMaps
from refit_mv.detect.heatmaps import at_points, heat_of, mirrored_back
from refit_mv.detect.litert import Network
from refit_mv.detect.person_finder import PersonFinder
from refit_mv.detect.suppression import distinct

PICTURE = 256
JOINTS = 33
# Beyond the body's points the network marks the middle of the hips and the top of a circle around the person, which
# say where the next crop lies.
HIPS, TOP = 33, 34
# A person's score is the network's own, times the mean heat at the visible points. On a recording of three people, two
# of whom hide each other at times, new people had 0.6 to 0.95 and people being followed 0.4 at the least, while posts,
# cameras and people seen upside down had 0.5 at most, most of them with more than 0.9 from the network itself.
NEW_SCORE, KEPT_SCORE = 0.55, 0.35
# The finder looks again after so many frames; sooner at the beginning and after somebody was lost: at once, then after
# 1, 2, 4 and 8 frames more.
LOOK_AGAIN = 10
# A found person's crop is adjusted so often to the points seen in it.
ADJUSTMENTS = 2
# Points are another person's at more than this likeness, at a spread of so many body heights. Only the limbs' joints
# are asked: the eleven points of the face and the four of each hand lie together where two heads or hands meet.
MOST_ALIKE, SPREAD = 0.5, 0.06
LIMBS = (*range(11, 17), *range(23, 29))
# A crop leads to a person being followed already if it lies within so many sizes of that person's, and is as large and
# as turned to within these bounds (ratio, radians).
NEAR, RATIO, TURN = 0.1, 1.4, 0.5


@dataclass(frozen=True, eq=False)
class Sighting:
    """A person in one picture: points (x, y, confidence), how surely it is one, and the crop for the next look."""

    points: Float[np.ndarray, "joint 3"]
    score: float
    crop: Crop

    @property
    def height(self) -> float:
        """About how tall the person is standing, in pixels."""
        return self.crop.size / MARGIN


@dataclass(frozen=True, eq=False)
class _Told:
    """An answer of the network of landmarks: all its points as shares of the crop, how sure it is of the body's, how
    surely there is somebody, the body's maps, and how far its points lie behind the hips' middle (metres, along the
    crop's own line of sight).
    """

    shares: Float[np.ndarray, "point 2"]
    confidence: Float[np.ndarray, " joint"]
    score: float
    logits: Float[np.ndarray, "row column joint"]
    depth: Float[np.ndarray, " joint"]


class BlazePose:
    """Everybody in every picture. The confidence of a point is the network's probability that it is visible, times the
    heat there: on rendered people that orders points by their error better than either (rank correlation −0.50, against
    −0.34 and −0.48).

    ``weights`` is a folder with the two network files; without one they are fetched, once. ``size`` of the network that
    marks points: "full", or "heavy", which takes three times as long.
    """

    def __init__(self, weights: Path | None = None, size: str = "full") -> None:
        self._size, marking = size, LANDMARKS[size]
        content = networks((FINDER, marking), weights)
        self._finder = PersonFinder(Network(content[FINDER]))
        self._landmarks = Network(content[marking])

    @property
    def name(self) -> str:
        package = LANDMARKS[self._size].package
        return f"blazepose {self._size} of {package}, ai-edge-litert {metadata.version('ai-edge-litert')}"

    @property
    def keypoints(self) -> KeypointSet:
        return keypoint_set("blazepose33")

    def detect(
        self, frames: Iterable[UInt8[np.ndarray, "height width 3"]]
    ) -> Iterator[Float[np.ndarray, "person joint 3"]]:
        known: list[Sighting] = []
        look_at, pause = 0, 1
        for number, frame in enumerate(frames):
            seen = _one_each([self._look(frame, person.crop) for person in known])
            if len(seen) < len(known):
                look_at, pause = number, 1
            if number >= look_at:
                seen = self._find(frame, seen)
                look_at, pause = number + pause, min(2 * pause, LOOK_AGAIN)
            known = seen
            yield np.stack([person.points for person in seen]) if seen else np.zeros((0, JOINTS, 3))

    def detect_crops(
        self, frame: UInt8[np.ndarray, "height width 3"], crops: Sequence[Crop]
    ) -> tuple[Float[np.ndarray, "crop joint 3"], Float[np.ndarray, " crop"]]:
        seen = [self._look(frame, crop) for crop in crops]
        points = np.stack([each.points for each in seen]) if seen else np.zeros((0, JOINTS, 3))
        return points, np.array([each.score for each in seen])

    def detect_maps(self, frame: UInt8[np.ndarray, "height width 3"], crops: Sequence[Crop]) -> CropMaps:
        """Of each crop and of its mirror image. On rendered people the mean of both maps takes 4 % off the error of
        bodies that are fitted to them; further crops of other sizes take off nothing more.
        """
        mirror = list(mirrored_order(self.keypoints.keypoint_names))
        points, heat, depth = [], [], []
        for crop in crops:
            picture = cut(frame, crop, PICTURE)
            told, turned = self._told(picture), self._told(np.ascontiguousarray(picture[:, ::-1]))
            confidence = (told.confidence + turned.confidence[mirror]) / 2
            points.append(np.column_stack([crop.to_picture(told.shares[:JOINTS]), confidence]))
            heat.append((heat_of(told.logits) + mirrored_back(heat_of(turned.logits))[mirror]) / 2)
            depth.append((told.depth + turned.depth[mirror]) / 2)
        if not crops:
            none = np.zeros((0, JOINTS))
            return CropMaps(np.zeros((0, JOINTS, 3)), np.zeros((0, JOINTS, 1, 1)), none)
        return CropMaps(np.stack(points), np.stack(heat), np.stack(depth))

    def _find(self, frame: UInt8[np.ndarray, "height width 3"], known: Sequence[Sighting]) -> list[Sighting]:
        """The known people and those that the finder sees besides."""
        people = list(known)
        for crop in self._finder.crops(frame):
            if any(_leads_to(crop, person.crop) for person in people):
                continue
            person = self._look(frame, crop)
            for _ in range(ADJUSTMENTS):
                if person.score > 0:
                    person = self._look(frame, person.crop)
            if person.score >= NEW_SCORE:
                people = _one_each([*people, person])
        return people

    def _look(self, frame: UInt8[np.ndarray, "height width 3"], crop: Crop) -> Sighting:
        told = self._told(cut(frame, crop, PICTURE))
        pixels, score, confidence = crop.to_picture(told.shares), told.score, told.confidence
        if not score >= KEPT_SCORE:
            score, confidence = 0.0, np.zeros(JOINTS)
        following = crop_up_to(pixels[HIPS], pixels[TOP], MARGIN) or crop
        return Sighting(np.concatenate([pixels[:JOINTS], confidence[:, None]], axis=1), score, following)

    def _told(self, picture: UInt8[np.ndarray, "row column 3"]) -> _Told:
        """What the network of landmarks says of a crop."""
        raw, flag, _, heatmaps, world, *_ = self._landmarks(picture.astype(np.float32) / 255)
        rows = raw.astype(np.float64).reshape(-1, 5)
        refined, heat = at_points(heatmaps, rows[:, :2] / PICTURE)
        heat, visibility = heat[:JOINTS], 1 / (1 + np.exp(-rows[:JOINTS, 3].clip(-100, 100)))
        score = float(flag[0] * np.average(heat, weights=visibility + 1e-9))
        depth = world.astype(np.float64).reshape(-1, 3)[:JOINTS, 2]
        return _Told(refined, visibility * heat, score, heatmaps[..., :JOINTS], depth)


def _leads_to(crop: Crop, other: Crop) -> bool:
    turn = abs(math.remainder(crop.rotation - other.rotation, 2 * math.pi))
    return (
        math.hypot(crop.x - other.x, crop.y - other.y) < NEAR * other.size
        and 1 / RATIO < crop.size / other.size < RATIO
        and turn < TURN
    )


def _one_each(people: Sequence[Sighting]) -> list[Sighting]:
    """Those that are people, each once."""
    real = [person for person in people if person.score > 0]
    if not real:
        return []
    kept = distinct(
        np.stack([person.points[LIMBS, :] for person in real]),
        np.array([person.score for person in real]),
        np.array([person.height for person in real]),
        SPREAD,
        MOST_ALIKE,
    )
    return [real[place] for place in kept]
