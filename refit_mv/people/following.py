"""People followed from frame to frame: each one's points, moved on by their motion, claim detections in every view;
what nobody claims is grouped across views and may be somebody new.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.triangulation import triangulate_arrays
from refit_mv.people.grouping import group
from refit_mv.people.options import PeopleOptions
from refit_mv.people.sightings import AGREEMENT, FEWEST_KEYPOINTS, Sight, sights
from refit_mv.session.observations import Observations

# Predictions miss by this many metres more for every second since the person was last seen, and for every second
# between frames while their motion is not known yet, which is in the first frames.
DRIFT, UNKNOWN_MOTION, NEW = 0.5, 1.5, 4
# ... and where frames are far apart by half of what they speed up, m/s².
SUDDEN = 3.0
# People rarely move faster than this, m/s.
FASTEST = 8.0
# How much of what a prediction missed goes into place and velocity; of velocity, what all points have in common counts
# for more.
FOLLOW_PLACE, FOLLOW_COMMON, FOLLOW_OWN = 0.7, 0.5, 0.2
# What is left of a velocity after a second in which nobody saw the point.
KEPT_VELOCITY = 0.1
# Points whose rays meet at a smaller sine have no depth.
LEAST_PARALLAX = 0.05
# A group whose points lie within this many metres of a followed person's is that person; one whose middle lies so near
# is, where nothing else was found of the person.
SAME_PERSON, NEAR = 0.2, 0.3
# With one view, people are followed at this many metres from it.
ASSUMED_DISTANCE = 3.0


@dataclass(eq=False)
class Piece:
    """A stretch of frames through which somebody was followed without interruption; lists have an entry per frame from
    ``first`` on. ``points`` are where they are now, or must be, ``seen`` where two views last showed them. Seconds:
    ``unseen`` by any view, ``alone`` without two that agree, ``together`` with them since the beginning.
    """

    first: int
    points: Float[np.ndarray, "joint 3"]
    velocity: Float[np.ndarray, "joint 3"]
    confirmed: bool
    seen: Float[np.ndarray, "joint 3"] = field(init=False)
    detection: list[Int[np.ndarray, " view"]] = field(default_factory=list)
    path: list[Float[np.ndarray, "joint 3"]] = field(default_factory=list)
    support: list[float] = field(default_factory=list)
    agreed: list[bool] = field(default_factory=list)
    unseen: float = 0.0
    alone: float = 0.0
    together: float = 0.0

    def __post_init__(self) -> None:
        self.seen = self.points

    def predict(self, seconds: float) -> None:
        """Move on, in place."""
        self.points = self.points + seconds * self.velocity
        if self.unseen > 0:
            self.velocity = self.velocity * KEPT_VELOCITY**seconds

    def update(self, measured: Float[np.ndarray, "joint 3"], seconds: float) -> None:
        """Take in, in place, where the points were found (NaN: nowhere)."""
        missed = measured - self.points
        # A single point that is far off is an error more often than a movement.
        missed = missed * np.minimum(1, 2 * AGREEMENT / np.maximum(_lengths(missed), 1e-9))
        new = np.isnan(self.points[:, 0]) & np.isfinite(measured[:, 0])
        known = np.isfinite(missed[:, 0])
        common = _middlemost(missed[known]) if known.any() else np.zeros(3)
        rest = np.where(known[:, None], missed, common)
        self.points = np.where(new[:, None], measured, self.points + FOLLOW_PLACE * rest)
        if seconds > 0:
            self.velocity = self.velocity + (FOLLOW_COMMON * common + FOLLOW_OWN * (rest - common)) / seconds
            self.velocity = self.velocity * np.minimum(1, FASTEST / np.maximum(_lengths(self.velocity), 1e-9))

    def turn(self, measured: Float[np.ndarray, "joint 3"]) -> None:
        """Take in, in place, points that are nowhere near where they were expected."""
        self.points = np.where(np.isfinite(measured), measured, self.points)
        self.velocity = np.zeros_like(self.velocity)

    def cut(self, length: int) -> None:
        """Forget, in place, all but the first frames."""
        for each in (self.detection, self.path, self.support, self.agreed):
            del each[length:]

    def remember(self, length: int) -> None:
        """Forget, in place, all but the last frames."""
        for each in (self.detection, self.path, self.support, self.agreed):
            del each[:-length]


# A frame is followed in some hundred small steps: what NumPy asks and checks before it computes takes longer than the
# computation, so these two do without.
def _lengths(vectors: Float[np.ndarray, "joint 3"]) -> Float[np.ndarray, "joint 1"]:
    """``np.linalg.norm``, of each."""
    return np.sqrt((vectors * vectors).sum(-1, keepdims=True))


def _middlemost(vectors: Float[np.ndarray, "joint 3"]) -> Float[np.ndarray, " 3"]:
    """``np.median`` of finite vectors, by coordinate."""
    ordered, half = np.sort(vectors, axis=0), len(vectors) // 2
    return ordered[half] if len(vectors) % 2 else (ordered[half - 1] + ordered[half]) / 2


def seconds_of(observations: Observations) -> Float[np.ndarray, " frame"]:
    """When each frame was, since the first. The rate is that of frames: where only every tenth number exists, ten
    numbers are one frame.
    """
    numbers = observations.frame_numbers - observations.frame_numbers[0]
    step = int(np.gcd.reduce(numbers)) if len(numbers) > 1 else 1
    return numbers / (max(step, 1) * observations.fps)


def moments(observations: Observations, options: PeopleOptions) -> Int[np.ndarray, " frame"]:
    """Number of the stretch of neighbouring frames that each frame belongs to; frames in which nobody was detected are
    no one's neighbours (−1).
    """
    shown = np.flatnonzero((observations.confidence > 0).any((1, 2, 3)))
    moment = np.full(len(observations), -1)
    apart = np.diff(seconds_of(observations)[shown]) > options.lost
    moment[shown] = np.cumsum(np.concatenate([[0], apart | options.separate]))[: len(shown)]
    return moment


def unconnected(observations: Observations, options: PeopleOptions) -> bool:
    """Whether most frames have no neighbours, or their numbers are at uneven distances: nothing moves evenly from one
    to the next then.
    """
    if len(np.unique(np.diff(observations.frame_numbers))) > 1:
        return True
    moment = moments(observations, options)
    return float(np.median(np.bincount(moment[moment >= 0], minlength=1))) <= 1


def followed(observations: Observations, rig: CameraRig, options: PeopleOptions) -> list[Piece]:
    """All pieces, in the order in which they begin."""
    moment = moments(observations, options)
    length = np.bincount(moment[moment >= 0], minlength=1)
    seconds = np.diff(seconds_of(observations), prepend=0.0)
    at = -1
    live: list[Piece] = []
    done: list[Piece] = []
    for frame, sight in enumerate(sights(observations, rig)):
        if moment[frame] > at:
            done += live
            live, at = [], int(moment[frame])
        needed = min(options.confirm_frames, int(length[max(at, 0)]))
        gone = advance(live, sight, frame, float(seconds[frame]), needed, options)
        done += gone
        live = [piece for piece in live if piece not in gone]
    done += live
    # Where nobody is sure to be there, whoever may be is better than nobody.
    kept = [piece for piece in done if piece.confirmed] or done
    return sorted(map(_trimmed, kept), key=lambda piece: piece.first)


def _trimmed(piece: Piece) -> Piece:
    """Without the last frames in which nobody saw them."""
    piece.cut(1 + max(place for place, taken in enumerate(piece.detection) if (taken >= 0).any()))
    return piece


def advance(
    live: list[Piece], sight: Sight, frame: int, seconds: float, needed: int, options: PeopleOptions
) -> list[Piece]:
    """One frame on, ``seconds`` after the last, in place; returns the pieces that end here. Somebody new counts after
    ``needed`` frames in which views agree.
    """
    free = sight.seen.copy()
    for piece in live:
        piece.predict(seconds)
    for confirmed in (True, False):
        some = [piece for piece in live if piece.confirmed == confirmed]
        if some:
            _claim(some, sight, free, seconds)
    _begin(live, sight, free, frame)
    gone = []
    for piece in live:
        piece.confirmed = piece.confirmed or sum(piece.agreed) >= needed
        # One view is believed no longer than several were before.
        lost = piece.unseen > options.lost or piece.alone > min(options.alone, piece.together)
        if lost or not (piece.confirmed or any(piece.agreed[-2:])):
            gone.append(piece)
    return gone


def _claim(some: list[Piece], sight: Sight, free: Bool[np.ndarray, "view person"], seconds: float) -> None:
    """What these people's predictions claim of the free detections, and then what the points found from it claim: a
    view that followed a wrong prediction is overruled by the others.
    """
    expected = np.stack([piece.points for piece in some])
    away = np.array([piece.unseen for piece in some]) + seconds
    new = np.array([len(piece.path) < NEW for piece in some])
    reach = AGREEMENT + DRIFT * away + UNKNOWN_MOTION * seconds * new + SUDDEN * seconds**2
    detection = assigned(sight.support(expected, reach), free)
    measured = measure(sight, detection, expected)
    points = np.where(np.isfinite(measured), measured, expected)
    support = sight.support(points, AGREEMENT)
    again = assigned(support, free)
    if (again != detection).any():
        detection, measured = again, measure(sight, again, expected)
    for piece, taken, told, place in zip(some, detection, support, measured, strict=True):
        piece.update(place, seconds)
        _note(piece, taken, place, _score(sight, taken, told), seconds)
    free[np.nonzero(detection >= 0)[1], detection[detection >= 0]] = False


def _note(
    piece: Piece,
    detection: Int[np.ndarray, " view"],
    measured: Float[np.ndarray, "joint 3"],
    support: float,
    seconds: float,
) -> None:
    """Write a frame down, in place."""
    views = int((detection >= 0).sum())
    piece.detection.append(detection)
    piece.path.append(np.where(np.isfinite(measured), measured, piece.points))
    piece.support.append(support)
    piece.agreed.append(views >= min(2, len(detection)))
    piece.seen = piece.points if piece.agreed[-1] else piece.seen
    piece.unseen = 0.0 if views else piece.unseen + seconds
    piece.alone = 0.0 if piece.agreed[-1] else piece.alone + seconds
    piece.together += seconds if piece.agreed[-1] else 0.0


def _score(sight: Sight, detection: Int[np.ndarray, " view"], told: Float[np.ndarray, "view person"]) -> float:
    """How much the detections speak for somebody: in keypoints, or with nothing to agree with, by how large and
    confident they are.
    """
    view = np.flatnonzero(detection >= 0)
    person = detection[view]
    if len(detection) > 1:
        return float(told[view, person].sum())
    direction, confidence = sight.direction[view, person], sight.confidence[view, person]
    middle = (confidence[..., None] * direction).sum(1, keepdims=True) / confidence.sum(1)[:, None, None]
    return float((confidence * np.linalg.norm(direction - middle, axis=-1)).sum())


def assigned(
    support: Float[np.ndarray, "track view person"], free: Bool[np.ndarray, "view person"]
) -> Int[np.ndarray, "track view"]:
    """In every view the assignment of free detections to people that the most keypoints speak for."""
    gain = np.where(free & (support > 0), support, 0.0)
    if gain.shape[0] == gain.shape[2] == 1:
        # One is nobody's rival.
        return np.where(gain[:, :, 0] > 0, 0, -1)
    detection = np.full(gain.shape[:2], -1, dtype=np.int64)
    for view in range(gain.shape[1]):
        track, person = linear_sum_assignment(gain[:, view], maximize=True)
        detection[track, view] = np.where(gain[track, view, person] > 0, person, -1)
    return detection


def measure(
    sight: Sight, detection: Int[np.ndarray, "track view"], expected: Float[np.ndarray, "track joint 3"]
) -> Float[np.ndarray, "track joint 3"]:
    """Where the rays of the detections meet; on the ray, as far away as expected, where there is but one; else NaN."""
    direction, weight = sight.taken(detection)
    rays = (weight > 0).sum(1)
    alone = rays == 1
    points = np.full(expected.shape, np.nan)
    if alone.any():
        view = weight.argmax(1)
        center = sight.center[view]
        along = np.take_along_axis(direction, view[:, None, :, None], axis=1)[:, 0]
        distance = np.linalg.norm(expected - center, axis=-1, keepdims=True)
        points = np.where(alone[..., None], center + distance * along, np.nan)
    if len(sight.center) > 1 and (rays > 1).any():
        met, support, parallax = triangulate_arrays(sight.center, direction, weight)
        good = (support >= 2) & (parallax > LEAST_PARALLAX)
        points = np.where(good[..., None], met, points)
    return points


def _begin(live: list[Piece], sight: Sight, free: Bool[np.ndarray, "view person"], frame: int) -> None:
    """What is left is grouped, in place: the groups are people whom no two views showed where they were expected, but
    who are near, or else new.
    """
    # Most frames leave nothing, or too little for a group.
    if free.any(1).sum() < min(2, len(free)):
        return
    groups = group(sight, free)
    if not len(groups):
        return
    nowhere = np.full((len(groups), sight.confidence.shape[2], 3), np.nan)
    if len(sight.center) == 1:
        nowhere = sight.center[0] + ASSUMED_DISTANCE * sight.direction[0, groups[:, 0]]
    points = measure(sight, groups, nowhere)
    support = sight.support(points, AGREEMENT)
    view = np.arange(len(sight.center))
    speaking = support[np.arange(len(groups))[:, None], view, np.maximum(groups, 0)] > 0
    groups = np.where((groups >= 0) & speaking, groups, -1)
    places = np.flatnonzero((groups >= 0).sum(1) >= min(2, len(view)))
    missed = [piece for piece in live if not piece.agreed[-1]]
    owner = _nearest(missed, points[places])
    for place, piece in zip(places.tolist(), owner, strict=True):
        score = _score(sight, groups[place], support[place])
        if piece is not None:
            piece.turn(points[place])
            piece.detection[-1], piece.path[-1], piece.support[-1] = groups[place], piece.points.copy(), score
            piece.agreed[-1], piece.seen, piece.unseen, piece.alone = True, piece.points, 0.0, 0.0
        elif all(_apart(other.points, points[place]) > SAME_PERSON for other in live):
            piece = Piece(frame, points[place], np.zeros_like(points[place]), confirmed=False)
            _note(piece, groups[place], points[place], score, 0.0)
            live.append(piece)


def _nearest(missed: list[Piece], points: Float[np.ndarray, "group joint 3"]) -> list[Piece | None]:
    """For every group whose it is by place alone: a person who turns on the spot has all points elsewhere."""
    owner: list[Piece | None] = [None] * len(points)
    if missed and len(points):
        # From where they were last as well: turning makes predictions wild.
        before = np.array([[piece.points, piece.seen] for piece in missed])
        away = middles_apart(points - before[:, :, None]).min(1)
        gain = np.maximum(1 - away / np.array([[NEAR + UNKNOWN_MOTION * piece.unseen] for piece in missed]), 0)
        for piece, place in zip(*linear_sum_assignment(gain, maximize=True), strict=True):
            if gain[piece, place] > 0:
                owner[place] = missed[piece]
    return owner


def middles_apart(between: Float[np.ndarray, "*batch joint 3"]) -> Float[np.ndarray, "*batch"]:
    """How far bodies are from each other whose points differ by ``between``; infinite with too few in common."""
    return np.nan_to_num(np.linalg.norm(middle_of(between), axis=-1), nan=np.inf)


def middle_of(points: Float[np.ndarray, "*batch joint 3"]) -> Float[np.ndarray, "*batch 3"]:
    """Mean of the known points, NaN where they are too few."""
    known = np.isfinite(points[..., 0])
    count = known.sum(-1)[..., None]
    mean = np.where(known[..., None], points, 0).sum(-2) / np.maximum(count, 1)
    return np.where(count >= FEWEST_KEYPOINTS, mean, np.nan)


def _apart(one: Float[np.ndarray, "joint 3"], other: Float[np.ndarray, "joint 3"]) -> float:
    """Median distance of the points that both have, infinite without any."""
    distance = np.linalg.norm(one - other, axis=-1)
    distance = distance[np.isfinite(distance)]
    return float(np.median(distance)) if len(distance) else np.inf
