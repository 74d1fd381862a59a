"""Who is who while frames arrive: as :func:`refit_mv.people.tracks.follow`, without what only the end can tell."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from refit_mv.body.keypoint_sets import KeypointSet
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig
from refit_mv.people.following import Piece, advance, middles_apart
from refit_mv.people.joining import LINK, limb_lengths, link_cost
from refit_mv.people.limbs import shared
from refit_mv.people.options import PeopleOptions
from refit_mv.people.sightings import Sight, sights
from refit_mv.session.observations import Observations

# So many frames of everybody are remembered: enough for the lengths of limbs.
REMEMBERED = 64


def require_later(time: float, clock: float) -> None:
    """Refuse a moment that is no number of seconds after the last one.

    Raises:
        InputError: says both.
    """
    if not clock < time < float("inf"):
        raise InputError(f"frames of a stream must advance in time: got {time} s after {clock} s")


@dataclass(frozen=True, eq=False)
class FrameObservations:
    """One person's keypoints at one moment. Pixels; confidence 0 for what was not seen."""

    pixels: Float[Tensor, "view joint 2"]
    confidence: Float[Tensor, "view joint"]


@dataclass(frozen=True, eq=False)
class _Left:
    """Somebody who was lost: where and when they were last seen, and the logarithms of the lengths of their limbs."""

    id: int
    time: float
    points: Float[np.ndarray, "joint 3"]
    limbs: Float[np.ndarray, " limb"]


class FollowStream:
    """Follows people before one rig as their detections arrive; :class:`refit_mv.FitStream` fits what it gives.

    Ids count from 0. Whoever is lost and comes back within ``options.absence`` seconds keeps theirs. There is no look
    back: somebody new is told of once views have agreed on them in ``confirm_frames``, and who never moves is followed
    too. Memory does not grow with time.
    """

    def __init__(self, rig: CameraRig, keypoints: KeypointSet, options: PeopleOptions | None = None) -> None:
        self._rig, self._keypoints = rig, keypoints
        self._options = PeopleOptions() if options is None else options
        self._live: list[Piece] = []
        self._id: dict[Piece, int] = {}
        self._left: list[_Left] = []
        self._clock, self._frame, self._next = float("-inf"), 0, 0

    def push(
        self,
        time: float,
        pixels: Shaped[np.ndarray, "view person joint 2"],
        confidence: Shaped[np.ndarray, "view person joint"],
    ) -> dict[int, FrameObservations]:
        """The next moment, ``time`` in seconds: the views' detections in any order, confidence 0 for what was not seen.
        Returns what was seen of everybody who is being followed and was seen at all.

        Raises:
            InputError: time does not advance, or arrays do not fit the rig and the keypoint set.
        """
        require_later(time, self._clock)
        seconds = 0.0 if self._frame == 0 else float(time) - self._clock
        observations = self._observations(pixels, confidence)
        sight = next(sights(observations, self._rig))
        if seconds > self._options.lost:
            self._forget(list(self._live), self._clock)
            self._live = []
        gone = advance(self._live, sight, self._frame, seconds, self._options.confirm_frames, self._options)
        self._clock, self._frame = float(time), self._frame + 1
        self._live = [piece for piece in self._live if piece not in gone]
        self._forget(gone, self._clock)
        for piece in self._live:
            piece.remember(REMEMBERED)
            if piece.confirmed and piece not in self._id:
                self._id[piece] = self._named(piece)
        return self._shown(sight, observations)

    def _observations(
        self, pixels: Shaped[np.ndarray, "view person joint 2"], confidence: Shaped[np.ndarray, "view person joint"]
    ) -> Observations:
        pixels, confidence = np.asarray(pixels), np.asarray(confidence)
        expected = (len(self._rig), len(self._keypoints))
        got = (confidence.shape[0], confidence.shape[2]) if confidence.ndim == 3 else None
        if got != expected or pixels.shape != (*confidence.shape, 2):
            raise InputError(
                f"a frame of {expected[0]} cameras with keypoint set '{self._keypoints.name}' has confidence of shape "
                f"({expected[0]}, people, {expected[1]}) and pixels of one axis of 2 more, got {confidence.shape} and "
                f"{pixels.shape}"
            )
        if confidence.shape[1] == 0:
            # A moment in which nobody is detected: one detection of nothing.
            confidence = np.zeros((expected[0], 1, expected[1]))
            pixels = np.zeros((*confidence.shape, 2))
        finite = np.isfinite(pixels).all(-1) & np.isfinite(confidence) & (np.nan_to_num(confidence) > 0)
        return Observations(
            np.where(finite[..., None], pixels, 0).astype(np.float32)[None],
            # As recordings are read: nothing is surer than 1.
            np.where(finite, confidence, 0).clip(max=1).astype(np.float32)[None],
            self._keypoints,
            self._rig.names,
            fps=1.0,
            frame_numbers=np.zeros(1, dtype=np.int64),
        )

    def _forget(self, gone: list[Piece], time: float) -> None:
        """Keep what is needed to know them again, if they were ever sure to be there."""
        for piece in gone:
            name = self._id.pop(piece, None)
            if name is not None and any(piece.agreed):
                self._left.append(_Left(name, time - piece.unseen, piece.seen, limb_lengths(piece, self._keypoints)))

    def _named(self, piece: Piece) -> int:
        """Their id: of those who left the one whom it costs least to be, as joining has it, or a new one."""
        self._left = [left for left in self._left if self._clock - left.time <= self._options.absence]
        limbs, costs = limb_lengths(piece, self._keypoints), []
        for left in self._left:
            gap = max(self._clock - left.time, 0.0)
            way = float(middles_apart((piece.path[0] - left.points)[None])[0])
            apart = np.abs(limbs - left.limbs)
            unlike = float(np.nanmedian(apart)) if np.isfinite(apart).any() else 0.0
            costs.append(float(link_cost(np.array(unlike), np.array(way), np.array(gap), self._options)))
        if costs and min(costs) < LINK:
            return self._left.pop(int(np.argmin(costs))).id
        self._next += 1
        return self._next - 1

    def _shown(self, sight: Sight, observations: Observations) -> dict[int, FrameObservations]:
        sure = [piece for piece in self._live if piece.confirmed and (piece.detection[-1] >= 0).any()]
        if not sure:
            return {}
        detection = np.stack([piece.detection[-1] for piece in sure])
        mine = np.ones((*detection.shape, len(self._keypoints)), dtype=bool)
        if len(sure) > 1:
            mine = shared(sight, np.stack([piece.path[-1] for piece in sure]), detection)
        answers = {}
        for piece, taken, points in zip(sure, detection, mine, strict=True):
            seen = observations.person(taken[None])
            confidence = np.where(points, seen.confidence[0], 0)
            answers[self._id[piece]] = FrameObservations(torch.from_numpy(seen.pixels[0]), torch.from_numpy(confidence))
        return answers
