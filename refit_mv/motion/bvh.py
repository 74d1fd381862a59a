"""BVH files: hierarchy and channels, read whatever the joints are called and written under the body's own names.

Format: Biovision hierarchy as described by Meredith & Maddock, "Motion Capture File Formats Explained" (2001). Rotation
    channels are applied in the order the file lists them (``Zrotation Xrotation Yrotation`` is ``Rz @ Rx @ Ry``),
    angles in degrees. No file tells its unit of length or its vertical: custom has centimetres and y.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.joints import SMPL_JOINT_NAMES, Skeleton
from refit_mv.body.model import BodyModel, PosedSkeleton
from refit_mv.errors import InputError
from refit_mv.files import complete_or_absent, regular_file
from refit_mv.geometry.rotations import exp
from refit_mv.motion.motion import Y_UP, Motion, ShapedBody
from refit_mv.motion.retarget import retarget
from refit_mv.motion.standard_skeleton import standard_rest_joints

# What a written file's lengths are multiplied with: centimetres from metres.
CENTIMETRES = 100.0
# Closer to straight up or down than this (cosine), the middle angle leaves only the sum of the outer two: 0.2 seconds
# of arc, which moves nothing by more than a micrometre.
_LOCKED = 1e-6
_CHANNELS = ("Xposition", "Yposition", "Zposition", "Xrotation", "Yrotation", "Zrotation")


@dataclass(frozen=True, eq=False)
class BvhClip:
    """A BVH file as it stands: offsets and motion in the file's own unit of length. ``channels`` of a joint are (kind,
    axis 0..2) in file order.
    """

    name: str
    fps: float
    joint_names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: Float[np.ndarray, "joint 3"]
    channels: tuple[tuple[tuple[str, int], ...], ...]
    values: Float[np.ndarray, "frame channel"]


class _Tokens:
    """The hierarchy's words one by one, each with the line it stands on for error messages."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.words = [(word, number) for number, line in enumerate(text.splitlines(), 1) for word in line.split()]
        self.place = 0

    def error(self, expected: str) -> InputError:
        word, line = self.words[min(self.place, len(self.words)) - 1] if self.words else ("nothing", 1)
        return InputError(f"{self.path}: not a usable BVH file, line {line}: expected {expected}, found '{word[:40]}'")

    def next(self, expected: str) -> str:
        self.place += 1
        if self.place > len(self.words):
            raise InputError(f"{self.path}: BVH file ends early, expected {expected}; is the file complete?")
        return self.words[self.place - 1][0]

    def take(self, literal: str) -> None:
        if self.next(f"'{literal}'").lower() != literal.lower():
            raise self.error(f"'{literal}'")

    def number(self, expected: str) -> float:
        try:
            value = float(self.next(expected))
        except ValueError:
            raise self.error(expected) from None
        if not np.isfinite(value):
            raise self.error(f"{expected}, finite")
        return value

    def count(self, expected: str) -> int:
        value = self.number(expected)
        if value != int(value) or value < 0:
            raise self.error(expected)
        return int(value)


@dataclass
class _Hierarchy:
    names: list[str]
    parents: list[int]
    offsets: list[list[float]]
    channels: list[tuple[tuple[str, int], ...]]


def _read_channels(tokens: _Tokens) -> tuple[tuple[str, int], ...]:
    channels = []
    for _ in range(tokens.count("a number of channels")):
        word = tokens.next("a channel name")
        matches = [known for known in _CHANNELS if known.lower() == word.lower()]
        if not matches:
            raise tokens.error(f"one of {', '.join(_CHANNELS)}")
        channels.append((matches[0][1:], "XYZ".index(matches[0][0])))
    return tuple(channels)


def _read_hierarchy(tokens: _Tokens) -> _Hierarchy:
    tree = _Hierarchy([], [], [], [])
    tokens.take("HIERARCHY")
    tokens.take("ROOT")
    stack: list[int] = []
    name = tokens.next("the root's name")
    while True:
        parent = stack[-1] if stack else -1
        index = len(tree.names)
        tree.names.append(name)
        tree.parents.append(parent)
        tree.channels.append(())
        tokens.take("{")
        tokens.take("OFFSET")
        tree.offsets.append([tokens.number("an offset") for _ in range(3)])
        stack.append(index)
        while True:
            word = tokens.next("'JOINT', 'End Site', 'CHANNELS' or '}'").lower()
            if word == "channels":
                tree.channels[stack[-1]] = _read_channels(tokens)
            elif word == "}":
                stack.pop()
                if not stack:
                    return tree
            elif word == "joint":
                name = tokens.next("a joint's name")
                break
            elif word == "end":
                tokens.take("Site")
                name = f"{tree.names[stack[-1]]} end"
                break
            else:
                raise tokens.error("'JOINT', 'End Site', 'CHANNELS' or '}'")


def read_bvh_clip(path: str | Path) -> BvhClip:
    """Parse a BVH file.

    Raises:
        InputError: not a BVH file, a broken or truncated one, or one with NaN, infinity or no frames.
    """
    path = Path(path)
    regular_file(path, "BVH file")
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: cannot read this BVH file: {error.strerror or error}") from None
    head, separator, tail = text.partition("MOTION")
    if not separator or "HIERARCHY" not in head:
        raise InputError(f"{path}: not a BVH file: the sections HIERARCHY and MOTION are missing or cut off")
    tree = _read_hierarchy(_Tokens(path, head))
    motion = tail.split(None, 5)
    try:
        if [motion[0].lower(), motion[2].lower(), motion[3].lower()] != ["frames:", "frame", "time:"]:
            raise ValueError
        frames, seconds = int(motion[1]), float(motion[4])
    except (ValueError, IndexError):
        raise InputError(f"{path}: after MOTION expected 'Frames: <count>' and 'Frame Time: <seconds>'") from None
    if not (frames > 0 and 0 < seconds < float("inf")):
        raise InputError(
            f"{path}: needs at least one frame and a positive frame time, got {frames} frames of {seconds} s"
        )
    try:
        values = np.array(motion[5].split() if len(motion) > 5 else [], dtype=np.float64)
    except ValueError as error:
        raise InputError(f"{path}: the motion section must hold numbers only: {error}") from None
    width = sum(len(channels) for channels in tree.channels)
    if width == 0 or values.size != frames * width:
        raise InputError(
            f"{path}: announces {frames} frames of {width} channels = {frames * width} numbers but holds {values.size};"
            " a truncated file?"
        )
    if not np.isfinite(values).all():
        raise InputError(
            f"{path}: frame {int(np.argmin(np.isfinite(values)) // width) + 1} holds NaN or an infinite number"
        )
    return BvhClip(
        name=path.stem,
        # Files round the frame time to a few digits (0.01666666): so is the rate, or 60 Hz would never be 60.
        fps=round(1 / seconds, 3),
        joint_names=tuple(tree.names),
        parents=tuple(tree.parents),
        offsets=np.array(tree.offsets, dtype=np.float64),
        channels=tuple(tree.channels),
        values=values.reshape(frames, width),
    )


def pose_bvh(clip: BvhClip, rest: bool = False) -> PosedSkeleton:
    """Every joint in the world for all frames; with ``rest`` the one pose of the bare offsets (all channels zero)."""
    values = torch.from_numpy(np.zeros_like(clip.values[:1]) if rest else clip.values)
    offsets = torch.from_numpy(clip.offsets)
    axes = torch.eye(3, dtype=torch.float64)
    positions: list[Tensor] = []
    rotations: list[Tensor] = []
    column = 0
    for joint, (parent, channels) in enumerate(zip(clip.parents, clip.channels, strict=True)):
        local = axes.expand(len(values), 3, 3)
        offset = offsets[joint].expand(len(values), 3)
        if any(kind == "position" for kind, _ in channels) and not rest:
            # Position channels replace the offset: that is how the root travels and how files with six channels
            # everywhere mean it.
            offset = torch.zeros_like(offset)
        for kind, axis in channels:
            value = values[:, column]
            column += 1
            if kind == "rotation":
                local = local @ exp(torch.deg2rad(value)[:, None] * axes[axis])
            elif not rest:
                offset = offset + value[:, None] * axes[axis]
        if parent < 0:
            positions.append(offset)
            rotations.append(local)
        else:
            positions.append(positions[parent] + (rotations[parent] @ offset[..., None])[..., 0])
            rotations.append(rotations[parent] @ local)
    return PosedSkeleton(torch.stack(positions, 1), torch.stack(rotations, 1))


def read_bvh(path: str | Path, body: BodyModel | None = None) -> Motion:
    """A BVH file as a motion of a ``body`` of mean shape or, without one, of the standard figure, in a y-up world.

    Joints are told by name (Daz / Poser as in the cgspeed conversion of CMU, Mixamo, MotionBuilder, SMPL). The T-pose
    is the first frame or the bare skeleton, whichever is the better one; a first frame that is a T-pose is dropped.
    Lengths of any unit are scaled by the person's legs to the body's (the standard figure is 1.70 m tall). Either y or
    z may be up in the file.

    Raises:
        InputError: not BVH, broken or truncated, a skeleton of unknown names, no T-pose or A-pose to start from.
    """
    path = Path(path)
    clip = read_bvh_clip(path)
    worn = None if body is None else ShapedBody(body.to(torch.float64), torch.zeros(body.shape_count).double())
    if worn is None:
        rest = dict(zip(SMPL_JOINT_NAMES, standard_rest_joints(), strict=True))
    else:
        rest = dict(zip(worn.model.joint_names, worn.rest, strict=True))
    pelvis, rotations = retarget(path, clip.joint_names, pose_bvh(clip), pose_bvh(clip, rest=True), rest)
    motion = Motion(clip.name, clip.fps, pelvis, rotations, up=Y_UP)
    return motion if worn is None else motion.worn_by(worn)


def write_bvh(path: Path, motion: Motion) -> tuple[Path]:
    """Write a body's motion as BVH: in centimetres, in the motion's own world (turn it with ``upright`` for the
    customary y up), the bare skeleton being the T-pose of the shaped body.

    The root has position and rotation channels, every other joint rotation channels. Frame by frame the file is the
    motion: frames without a pose of their own hold the nearest frame's, which BVH has no word for, and ``Frame Time``
    holds any rate.

    Raises:
        InputError: the motion has no body, no frame has a pose, or the file cannot be written.
    """
    rest = CENTIMETRES * motion.known_body.rest.numpy()
    parents = np.array(motion.skeleton.parents)
    offsets = np.where(parents[:, None] < 0, 0.0, rest - rest[parents])
    held = motion.held()
    tree, order = _branch(motion.skeleton, offsets, 0, 0)
    # Whole turns are taken out of the steps from frame to frame, so that a curve drawn through them does not spin.
    angles = np.unwrap(_zxy_degrees(held.rotations[:, order].numpy()), period=360.0, axis=0)
    values = np.concatenate([CENTIMETRES * held.pelvis.numpy(), angles.reshape(len(motion), -1)], axis=1)
    head = ["HIERARCHY", *tree, "MOTION", f"Frames: {len(motion)}", f"Frame Time: {1 / motion.fps:.12g}"]
    with complete_or_absent(path) as temporary:
        temporary.write_text("\n".join([*head, *map(_decimals, values), ""]), encoding="utf-8")
    return (path,)


def _decimals(values: Float[np.ndarray, " value"]) -> str:
    # Adding zero takes the sign from a negative one.
    return " ".join(f"{value:.6f}" for value in np.round(values, 6) + 0.0)


def _branch(
    skeleton: Skeleton, offsets: Float[np.ndarray, "joint 3"], joint: int, depth: int
) -> tuple[list[str], list[int]]:
    """A joint and all that hangs on it: the hierarchy's lines, and the joints in the order in which these name them."""
    pad, inner = "\t" * depth, "\t" * (depth + 1)
    channels = "3 " if depth else "6 Xposition Yposition Zposition "
    lines = [
        f"{pad}{'JOINT' if depth else 'ROOT'} {skeleton.joint_names[joint]}",
        f"{pad}{{",
        f"{inner}OFFSET {_decimals(offsets[joint])}",
        f"{inner}CHANNELS {channels}Zrotation Xrotation Yrotation",
    ]
    order = [joint]
    for child in [child for child, parent in enumerate(skeleton.parents) if parent == joint]:
        below, joints = _branch(skeleton, offsets, child, depth + 1)
        lines += below
        order += joints
    if len(order) == 1:
        # Something to see: half as long again as the bone that ends here.
        end = f"{inner}\tOFFSET {_decimals(offsets[joint] / 2)}"
        lines += [f"{inner}End Site", f"{inner}{{", end, f"{inner}}}"]
    return [*lines, f"{pad}}}"], order


def _zxy_degrees(rotations: Float[np.ndarray, "*batch 3 3"]) -> Float[np.ndarray, "*batch 3"]:
    """Angles about z, x and y whose rotations, multiplied in this order, are the given ones."""
    cosine = np.hypot(rotations[..., 0, 1], rotations[..., 1, 1])
    locked = cosine < _LOCKED
    z = np.where(
        locked,
        np.arctan2(rotations[..., 1, 0], rotations[..., 0, 0]),
        np.arctan2(-rotations[..., 0, 1], rotations[..., 1, 1]),
    )
    x = np.arctan2(rotations[..., 2, 1], cosine)
    y = np.where(locked, 0.0, np.arctan2(-rotations[..., 2, 0], rotations[..., 2, 2]))
    return np.rad2deg(np.stack([z, x, y], axis=-1))
