"""What a motion is, whatever skeleton moves and whatever file it came from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from refit_mv.body.joints import SMPL, Skeleton
from refit_mv.body.model import BodyModel, posed_joints, rest_joints
from refit_mv.body.params import BodyParams
from refit_mv.body.sides import mirrored_order
from refit_mv.errors import InputError
from refit_mv.geometry.rotations import align, geodesic
from refit_mv.status import FrameStatus

Direction = tuple[float, float, float]
Y_UP: Direction = (0.0, 1.0, 0.0)
Z_UP: Direction = (0.0, 0.0, 1.0)

# A reflection across the sagittal plane of the rest frame: x points to the person's left.
_REFLECTION = (-1.0, 1.0, 1.0)
# Shapes that differ by less than this are one shape: it moves no vertex of an SMPL body by more than about 0.1
# micrometre.
SHAPE_SPREAD = 1e-6
# Frames of these words may lack a pose.
_MAY_LACK_A_POSE = (FrameStatus.ABSENT, FrameStatus.FAILED)


@dataclass(frozen=True, eq=False)
class ShapedBody:
    """Whose motion it is: a body model in one shape. ``gender`` says which model of its family it is."""

    model: BodyModel
    shape: Float[Tensor, " shape"]
    gender: str = "neutral"

    @property
    def rest(self) -> Float[Tensor, "joint 3"]:
        """Joints of the shaped T-pose, metres."""
        return rest_joints(self.model, self.shape[None])[0]


@dataclass(frozen=True, eq=False)
class FrameRecord:
    """What is known of frames beside their poses: the recording's own numbers, their status, and which are ``posed``
    (have a pose of their own; all others have none, or hold another frame's). Of joints, where that is known: which are
    ``joint_seen`` (the others are inferred) and their standard deviation per axis, metres; of feet the probability of
    ``contacts`` of ``body.soles.CONTACT_NAMES`` with whatever is below them.
    """

    numbers: Int[np.ndarray, " frame"]
    status: tuple[FrameStatus, ...]
    posed: Bool[np.ndarray, " frame"]
    joint_seen: Bool[np.ndarray, "frame joint"] | None = None
    joint_sigma: Float[np.ndarray, "frame joint"] | None = None
    contacts: Float[np.ndarray, "frame point"] | None = None

    def frames(self, chosen: Int[np.ndarray, " chosen"]) -> "FrameRecord":
        """A selection of frames."""
        return FrameRecord(
            self.numbers[chosen],
            tuple(self.status[index] for index in chosen),
            self.posed[chosen],
            None if self.joint_seen is None else self.joint_seen[chosen],
            None if self.joint_sigma is None else self.joint_sigma[chosen],
            None if self.contacts is None else self.contacts[chosen],
        )

    @property
    def of_frames(self) -> "FrameRecord":
        """Without what it says of joints, for other joints."""
        return replace(self, joint_seen=None, joint_sigma=None)


@dataclass(frozen=True, eq=False)
class Motion:
    """Movement of a skeleton: where its pelvis joint is in the world (metres), and one local rotation matrix per joint
    (the root's is world_from_root).

    What files may leave open is None: which way is ``up`` in the world, whose ``body`` it is, the ``record`` of the
    frames (then they count from 0 and are all fitted), and the ``floor``: a point of it (metres) and its normal.

    Raises:
        InputError: no frames, rates that are not positive, or poses that are not finite.
    """

    name: str
    fps: float
    pelvis: Float[Tensor, "frame 3"]
    rotations: Float[Tensor, "frame joint 3 3"]
    skeleton: Skeleton = SMPL
    up: Direction | None = None
    body: ShapedBody | None = None
    record: FrameRecord | None = None
    floor: tuple[Direction, Direction] | None = None

    def __post_init__(self) -> None:
        if not (self.fps > 0 and self.fps < float("inf")):
            raise InputError(f"motion '{self.name}': frames per second must be positive, got {self.fps}")
        if len(self.pelvis) == 0:
            raise InputError(f"motion '{self.name}': holds no frames")
        broken = np.flatnonzero(self.posed & ~_finite(self.pelvis, self.rotations))
        if len(broken):
            raise InputError(f"motion '{self.name}': frame {broken[0]} holds NaN or infinite numbers")

    @staticmethod
    def of_fit(
        body: BodyModel,
        params: BodyParams,
        *,
        fps: float | int,
        frame_numbers: Int[np.ndarray, " frame"],
        status: Sequence[str],
        up: Direction | None,
        gender: str = "neutral",
        name: str = "fit",
    ) -> "Motion":
        """What a fit found. ``absent`` frames, and failed ones without finite numbers, have no pose.

        Raises:
            InputError: the counts of frames differ, a frame that is neither has no finite pose, the shape varies over
            time, or what ``Motion`` itself refuses.
        """
        if not (len(frame_numbers) == len(status) == len(params)):
            raise InputError(
                f"motion '{name}': {len(params)} poses, but {len(frame_numbers)} frame numbers and {len(status)}"
                " statuses"
            )
        params = params.to(torch.float64, "cpu")
        words = tuple(FrameStatus(word) for word in status)
        finite = params.finite.numpy()
        for frame in np.flatnonzero(~finite):
            if words[frame] not in _MAY_LACK_A_POSE:
                raise InputError(
                    f"motion '{name}': frame {frame} is marked '{words[frame]}' but its parameters are not finite"
                )
        posed = finite & np.array([word is not FrameStatus.ABSENT for word in words], dtype=bool)
        shapes = params.shape[torch.from_numpy(posed)] if posed.any() else params.shape
        spread = float((shapes - shapes[:1]).abs().max()) if shapes.numel() else 0.0
        if spread > SHAPE_SPREAD:
            raise InputError(
                f"motion '{name}': a person has one shape, but the shape varies over time by up to {spread:.2g};"
                " fit with the shape locked"
            )
        return Motion(
            name,
            float(fps),
            params.pelvis,
            params.rotations,
            body.skeleton,
            up,
            ShapedBody(body.to(torch.float64), shapes[0], gender),
            FrameRecord(np.asarray(frame_numbers, dtype=np.int64), words, posed),
        )

    def __len__(self) -> int:
        return len(self.pelvis)

    @property
    def frame_numbers(self) -> Int[np.ndarray, " frame"]:
        """The recording's own numbers."""
        return np.arange(len(self)) if self.record is None else self.record.numbers

    @property
    def status(self) -> tuple[FrameStatus, ...]:
        """One word a frame."""
        return (FrameStatus.FITTED,) * len(self) if self.record is None else self.record.status

    @property
    def posed(self) -> Bool[np.ndarray, " frame"]:
        """Frames that have a pose of their own."""
        return np.ones(len(self), dtype=bool) if self.record is None else self.record.posed

    @property
    def known_body(self) -> ShapedBody:
        """Whose motion it is. Raises InputError where nothing tells."""
        if self.body is None:
            raise InputError(f"motion '{self.name}': belongs to no body; read it with one to give it bones and a shape")
        return self.body

    @property
    def params(self) -> BodyParams:
        """The parameters of its body. Raises InputError where it has none."""
        return BodyParams(self.pelvis, self.rotations, self.known_body.shape.expand(len(self), -1).clone())

    @property
    def joints(self) -> Float[np.ndarray, "frame joint 3"]:
        """Its body's joints in the world, metres; NaN in frames without a pose of their own. Raises InputError where it
        has no body.
        """
        positions = posed_joints(self.known_body.model, self.params).positions.numpy().copy()
        positions[~self.posed] = np.nan
        return positions

    def knowing(
        self, joint_seen: Bool[np.ndarray, "frame joint"], joint_sigma: Float[np.ndarray, "frame joint"]
    ) -> "Motion":
        """With what is known of its joints beside their poses; NaN sigma and nothing seen where a frame has no pose."""
        assert self.record is not None
        posed = self.posed[:, None]
        known = replace(self.record, joint_seen=joint_seen & posed, joint_sigma=np.where(posed, joint_sigma, np.nan))
        return replace(self, record=known)

    def standing(
        self, contacts: Float[np.ndarray, "frame point"] | None, floor: tuple[Direction, Direction] | None
    ) -> "Motion":
        """With what is known of its feet and of what they stand on; no contact where a frame has no pose."""
        assert self.record is not None
        known = None if contacts is None else np.where(self.posed[:, None], contacts, 0).astype(np.float32)
        return replace(self, record=replace(self.record, contacts=known), floor=floor)

    def frames(self, chosen: slice | Int[Tensor, " chosen"]) -> "Motion":
        """A selection of frames; the rate is kept, so only a contiguous selection still plays at the right speed."""
        index = torch.arange(len(self))[chosen]
        record = None if self.record is None else self.record.frames(index.numpy())
        return replace(self, pelvis=self.pelvis[chosen], rotations=self.rotations[chosen], record=record)

    def held(self) -> "Motion":
        """With the nearest frame's pose where a frame has none of its own, for files that know no gaps; the record
        still tells which.

        Raises:
            InputError: no frame has a pose.
        """
        if self.posed.all():
            return self
        if not self.posed.any():
            raise InputError(f"motion '{self.name}': no frame has a pose, nothing to export; see the report for why")
        nearest = nearest_posed(self.posed)
        return replace(self, pelvis=self.pelvis[nearest], rotations=self.rotations[nearest])

    def on(self, skeleton: Skeleton) -> "Motion":
        """The same rotations, by name, on another skeleton; joints that this one lacks stay unrotated."""
        eye = torch.eye(3, dtype=self.rotations.dtype)
        rotations = arranged(self.rotations, self.skeleton.joint_names, skeleton.joint_names, eye)
        record = None if self.record is None else self.record.of_frames
        return replace(self, rotations=rotations, skeleton=skeleton, body=None, record=record)

    def worn_by(self, body: ShapedBody) -> "Motion":
        """The same rotations on a body, its pelvis in the same place."""
        return replace(self.on(body.model.skeleton), body=body)


def _finite(pelvis: Float[Tensor, "frame 3"], rotations: Float[Tensor, "frame joint 3 3"]) -> np.ndarray:
    return (torch.isfinite(pelvis).all(-1) & torch.isfinite(rotations).flatten(1).all(-1)).numpy()


def arranged(
    values: Float[Tensor, "frame source *value"],
    source: Sequence[str],
    wanted: Sequence[str],
    unknown: Float[Tensor, "*value"],
) -> Float[Tensor, "frame wanted *value"]:
    """Values of the ``source``'s joints in another order; joints that it lacks get ``unknown``."""
    result = unknown.expand(len(values), len(wanted), *unknown.shape).clone()
    place = {name: index for index, name in enumerate(source)}
    for index, name in enumerate(wanted):
        if name in place:
            result[:, index] = values[:, place[name]]
    return result


def nearest_posed(posed: Bool[np.ndarray, " frame"]) -> Int[np.ndarray, " frame"]:
    """For every frame the closest one that has a pose (itself where it has one, the earlier of two equally close)."""
    index = np.flatnonzero(posed)
    frames = np.arange(len(posed))
    after = index[np.searchsorted(index, frames).clip(max=len(index) - 1)]
    before = index[(np.searchsorted(index, frames, side="right") - 1).clip(min=0)]
    return np.where(np.abs(frames - before) <= np.abs(after - frames), before, after)


def upright(motion: Motion, assumed: Direction | None = None) -> Motion:
    """The motion in a world whose y axis points up, turned there the smallest way. ``assumed`` is up where the motion
    does not say; where neither says, it stays as it is.
    """
    up = motion.up or assumed
    return motion if up is None else turned_up(replace(motion, up=up), Y_UP)


def turned_up(motion: Motion, up: Direction) -> Motion:
    """The motion in a world where ``up`` points up, turned there the smallest way.

    Raises:
        InputError: the motion does not say which way up is.
    """
    if motion.up is None:
        raise InputError(f"motion '{motion.name}': nothing tells which way up is, so it cannot be turned")
    turn = align(torch.tensor(motion.up, dtype=torch.float64), torch.tensor(up, dtype=torch.float64))
    # Between axes the turn is exact, so that what lies on one lies on the other.
    turn = torch.where((turn - turn.round()).abs() < 1e-12, turn.round(), turn)
    rotations = motion.rotations.clone()
    rotations[:, 0] = turn @ rotations[:, 0]
    floor = None if motion.floor is None else (_turned(turn, motion.floor[0]), _turned(turn, motion.floor[1]))
    return replace(motion, pelvis=motion.pelvis @ turn.T, rotations=rotations, up=up, floor=floor)


def _turned(turn: Float[Tensor, "3 3"], direction: Direction) -> Direction:
    x, y, z = (turn @ torch.tensor(direction, dtype=turn.dtype)).tolist()
    return x, y, z


def mirror(motion: Motion) -> Motion:
    """The same movement seen in a mirror: left and right limbs change places and x, which must not be up, is negated.
    Nobody's body is its own mirror image, so the motion then belongs to none.
    """
    reflection = torch.tensor(_REFLECTION, dtype=motion.pelvis.dtype)
    rotations = motion.rotations[:, mirrored_order(motion.skeleton.joint_names)]
    return replace(
        motion,
        record=None if motion.record is None else replace(motion.record.of_frames, contacts=None),
        floor=None,
        name=f"{motion.name} (mirrored)",
        pelvis=motion.pelvis * reflection,
        rotations=rotations * reflection[:, None] * reflection,
        body=None,
    )


def resample(motion: Motion, fps: float) -> Motion:
    """The motion at another rate over the same duration: positions linearly, rotations along geodesics, frames counted
    anew. Aliasing is not filtered.
    """
    if not (fps > 0 and fps < float("inf")):
        raise InputError(f"motion '{motion.name}': cannot resample to {fps} frames per second, give a positive rate")
    motion = motion.held()
    last = len(motion) - 1
    # The small allowance keeps the last frame when the rates divide evenly but their quotient is rounded down.
    count = int(last / motion.fps * fps + 1e-9) + 1
    place = (torch.arange(count, dtype=torch.float64) * (motion.fps / fps)).clamp_max(last)
    before = place.floor().long().clamp_max(max(last - 1, 0))
    after = (before + 1).clamp_max(last)
    share = (place - before).to(motion.pelvis.dtype)
    record = motion.record and replace(motion.record.frames(place.round().long().numpy()), numbers=np.arange(count))
    return replace(
        motion,
        fps=fps,
        pelvis=motion.pelvis[before] + share[:, None] * (motion.pelvis[after] - motion.pelvis[before]),
        rotations=geodesic(motion.rotations[before], motion.rotations[after], share[:, None]),
        record=record,
    )
