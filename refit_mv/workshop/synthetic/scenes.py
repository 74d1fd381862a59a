"""What several people do in one place: circle about one another, cross each other's ways, touch, fill a hall, work
around furniture.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import load_pose_prior
from refit_mv.errors import InputError
from refit_mv.geometry.rotations import exp, geodesic
from refit_mv.motion.motion import Motion, resample
from refit_mv.session.frame_runs import frame_runs
from refit_mv.workshop.synthetic.crowd import OcclusionNoise
from refit_mv.workshop.synthetic.furniture import Box
from refit_mv.workshop.synthetic.motions import sampled_motion, smooth_noise
from refit_mv.workshop.synthetic.plausibility import plausible_frames
from refit_mv.workshop.synthetic.session import motion_params, random_shape
from refit_mv.workshop.synthetic.solid import made_solid

# Neighbours of a circle stand so far from each other, metres, and it turns once in so many seconds.
CIRCLING_DISTANCE, CIRCLING_SECONDS = 0.6, 5.0
# Who crosses walks an ellipse of these half axes (metres) in so many seconds, at 1.6 m/s through the middle; all are
# there within about a second.
CROSSING_REACH, CROSSING_GAP, CROSSING_SECONDS, CROSSING_SPREAD = 2.0, 0.35, 8.0, 0.4
# Pairs who touch begin this far from each other, stand so far from the next pair, and turn slowly (rad/s).
CONTACT_APART, PAIR_SPACING, PAIR_TURNING = 1.6, 2.5, 0.2
# In a hall everybody wanders within a normal distribution of these widths, at 0.7 m/s, drawn there by a spring (1/s²),
# and pushed off by whoever is nearer than so many metres (1/s²).
HALL_WIDTH, HALL_SECONDS = (1.4, 1.0), 2.0
SPRING, PUSHED_FROM, PUSH = 4.0, 0.8, 30.0
# A shelf without boards, and a table with a trolley at either end: middle, (width, height, depth).
SHELF = (Box((0.0, 0.0), (1.5, 0.9, 0.45)),)
TABLE = (Box((0.0, 0.0), (2.0, 1.0, 0.7)), Box((1.6, 0.0), (0.6, 0.9, 0.6)), Box((-1.6, 0.0), (0.6, 0.9, 0.6)))
# Who works at a piece of furniture stands so far from its long sides (metres) with so much between neighbours, shifting
# about by so many metres within seconds.
AT_WORK, ELBOW_ROOM, SHIFTING, SHIFTING_SECONDS = 0.4, 0.75, 0.12, 2.0
# Who comes or goes walks at this speed (m/s), and is through the door so far from the middle (metres).
WALKING, DOOR = 1.3, 2.7
# They turn round in so many seconds.
TURNING = 0.8
# At the shelf one person comes after this share of the take, another is gone between these.
LATE, GONE = 0.25, (0.4, 0.75)
# Recorded motions of fewer seconds without an implausible frame are not used.
SHORTEST_RUN = 1.0

Place = Float[np.ndarray, "person frame 2"]
Heading = Float[np.ndarray, "person frame"]


@dataclass(frozen=True)
class _Act:
    """Two people touching: how far apart their pelvises are (metres), how much the second is raised, and how each of
    both arms is held: turned forwards, lowered, bent at the elbow (radians). ``hands``: their right hands meet.
    """

    distance: float
    raised: float
    right: tuple[float, float, float]
    left: tuple[float, float, float] | None
    hands: bool = False


# What is straight of who touches somebody: whose knees are between those of the other has nowhere to go.
STRAIGHT = ("spine1", "spine2", "spine3", "left_hip", "right_hip", "left_knee", "right_knee")
ACTS = {
    "handshake": _Act(1.0, 0.0, (1.3, 0.6, 0.3), None, hands=True),
    "hug": _Act(0.34, 0.0, (1.1, 0.3, 0.9), (1.1, -0.2, 0.9)),
    "lift": _Act(0.34, 0.35, (1.1, 0.2, 0.9), (1.1, 0.2, 0.9)),
}


def scene_people(
    scene: "Scene", body: BodyModel, motions: Sequence[Motion], frames: int, fps: float, seed: int
) -> tuple[BodyParams, ...]:
    """People of random shapes with movements of their own, on the ways of the scene.

    ``motions`` are drawn from; without any, movements are drawn from the pose prior. The same seed gives the same
    people.

    Raises:
        InputError: nobody or no frames, or motions none of which can be used.
    """
    count = scene.people
    if count < 1 or frames < 1:
        raise InputError(f"a scene needs at least one person and one frame, got {count} and {frames}")
    rng = np.random.default_rng([seed, 6])
    place, heading = scene.ways(count, frames, fps, rng)
    people = []
    for person in range(count):
        motion = _movement(motions, frames, fps, rng)
        params = motion_params(body, motion, random_shape(body, 1, rng).expand(frames, -1))
        people.append(_on_the_way(params, place[person], heading[person]))
    if scene.touching:
        for first in range(0, count - 1, 2):
            people[first : first + 2] = _touching(body, people[first], people[first + 1], frames)
    return made_solid(body, people, 1 / fps) if scene.solid else tuple(people)


def _movement(motions: Sequence[Motion], frames: int, fps: float, rng: np.random.Generator) -> Motion:
    """A movement of that many frames: recorded ones from a random frame on, to and fro where they are too short."""
    if not motions:
        return sampled_motion(load_pose_prior(), int(rng.integers(2**31)), frames, fps)
    for chosen in rng.permutation(len(motions)):
        motion = motions[chosen]
        start, stop = _longest_run(plausible_frames(motion).numpy())
        if stop - start >= SHORTEST_RUN * motion.fps:
            run = resample(motion.frames(slice(start, stop)), fps)
            last = max(len(run) - 1, 1)
            step = (np.arange(frames) + rng.integers(2 * last)) % (2 * last)
            return run.frames(torch.from_numpy(np.minimum(step, 2 * last - step).clip(max=len(run) - 1)))
    raise InputError(f"none of the {len(motions)} motions holds {SHORTEST_RUN:g} s that a human body could have made")


def _longest_run(good: np.ndarray) -> tuple[int, int]:
    runs = frame_runs(good)
    return (0, 0) if not len(runs) else tuple(runs[(runs[:, 1] - runs[:, 0]).argmax()].tolist())


def _on_the_way(
    params: BodyParams, place: Float[np.ndarray, "frame 2"], heading: Float[np.ndarray, " frame"]
) -> BodyParams:
    """The body's movement at these places (x, z) with these headings (radians about y, 0 looking along z)."""
    forward = params.rotations[:, 0, :, 2]
    turn = torch.from_numpy(heading) - torch.atan2(forward[:, 0], forward[:, 2])
    rotations = params.rotations.clone()
    rotations[:, 0] = exp(torch.stack([torch.zeros_like(turn), turn, torch.zeros_like(turn)], -1)) @ rotations[:, 0]
    pelvis = params.pelvis.clone()
    pelvis[:, [0, 2]] = torch.from_numpy(place)
    return BodyParams(pelvis, rotations, params.shape)


def _circling(count: int, frames: int, fps: float, rng: np.random.Generator) -> tuple[Place, Heading]:
    """Everybody on one circle, facing its middle."""
    radius = CIRCLING_DISTANCE / (2 * np.sin(np.pi / count)) if count > 1 else 0.0
    around = rng.choice([-1, 1]) * 2 * np.pi / CIRCLING_SECONDS * np.arange(frames) / fps
    angle = rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(count)[:, None] / count + around
    return radius * np.stack([np.sin(angle), np.cos(angle)], axis=-1), angle + np.pi


def _crossing(count: int, frames: int, fps: float, rng: np.random.Generator) -> tuple[Place, Heading]:
    """Everybody to and fro on narrow ellipses through the middle, from all sides, out of one another's way."""
    direction = rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(count)[:, None] / max(count, 1)
    phase = rng.uniform(-CROSSING_SPREAD, CROSSING_SPREAD, (count, 1))
    phase = phase + 2 * np.pi * np.arange(frames) / fps / CROSSING_SECONDS
    ahead, aside = CROSSING_REACH * np.cos(phase), CROSSING_GAP * np.sin(phase)
    speed, drift = -CROSSING_REACH * np.sin(phase), CROSSING_GAP * np.cos(phase)
    sin, cos = np.sin(direction), np.cos(direction)
    place = np.stack([ahead * sin + aside * cos, ahead * cos - aside * sin], axis=-1)
    return _kept_apart(place, fps), np.arctan2(speed * sin + drift * cos, speed * cos - drift * sin)


def _share(frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Which act each frame belongs to, and how far it has come (0: apart, 1: in contact)."""
    through = np.arange(frames) / max(frames, 1) * len(ACTS)
    act, part = through.astype(np.int64), through % 1
    rise = np.clip(np.minimum((part - 0.1) / 0.25, (0.95 - part) / 0.2), 0, 1)
    return act, rise * rise * (3 - 2 * rise)


def _contact(count: int, frames: int, fps: float, rng: np.random.Generator) -> tuple[Place, Heading]:
    """Pairs in a row who come together face to face for one act after the other; who is left over stands alone."""
    act, share = _share(frames)
    distance = CONTACT_APART + share * (np.array([each.distance for each in ACTS.values()])[act] - CONTACT_APART)
    pairs = (count + 1) // 2
    angle = rng.uniform(0, 2 * np.pi, (pairs, 1)) + PAIR_TURNING * np.arange(frames) / fps
    middle = np.stack([PAIR_SPACING * (np.arange(pairs) - (pairs - 1) / 2), np.zeros(pairs)], axis=-1)
    offset = 0.5 * distance[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=-1)
    place = np.stack([middle[:, None] + offset, middle[:, None] - offset], axis=1).reshape(-1, frames, 2)
    heading = np.stack([angle + np.pi, angle], axis=1).reshape(-1, frames)
    return place[:count], heading[:count]


def _hall(count: int, frames: int, fps: float, rng: np.random.Generator) -> tuple[Place, Heading]:
    """Everybody wandering, looking where they go, keeping off one another."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    noise = smooth_noise(frames, 2 * count, HALL_SECONDS, fps, generator).numpy().T.reshape(count, 2, frames)
    place = _kept_apart(noise.transpose(0, 2, 1) * HALL_WIDTH, fps)
    # Over half a second: who hardly moves does not spin.
    frame, near = np.arange(frames), max(1, round(0.25 * fps))
    step = place[:, (frame + near).clip(max=frames - 1)] - place[:, (frame - near).clip(min=0)]
    return place, np.arctan2(step[..., 0], step[..., 1])


def _kept_apart(wanted: Place, fps: float) -> Place:
    """Ways near the wanted ones, of people who are drawn along them as by springs and push each other off."""
    steps = max(1, round(60 / fps))
    seconds, place, speed = 1 / (fps * steps), wanted[:, 0], np.zeros_like(wanted[:, 0])
    way = []
    # A second beforehand, in which who begins too near another gets away.
    for frame in [*[0] * max(1, round(fps)), *range(wanted.shape[1])]:
        for _ in range(steps):
            between = place[:, None] - place[None]
            away = np.linalg.norm(between, axis=-1, keepdims=True)
            push = PUSH * (PUSHED_FROM - away).clip(min=0) * between / np.maximum(away, 1e-9)
            speed = speed + seconds * (push.sum(1) + SPRING * (wanted[:, frame] - place) - 2 * SPRING**0.5 * speed)
            place = place + seconds * speed
        way.append(place)
    return np.stack(way[-wanted.shape[1] :], axis=1)


def _at_work(
    count: int, frames: int, fps: float, rng: np.random.Generator, furniture: tuple[Box, ...]
) -> tuple[Place, Heading]:
    """Everybody at the long sides of the first piece of furniture, looking at it, on the spot but for a step or two."""
    side, number = np.arange(count) % 2, np.arange(count) // 2
    in_row = (count + 1 - side) // 2
    along = ELBOW_ROOM * (number - (in_row - 1) / 2) + rng.normal(0, 0.1, count)
    facing = 2 * side - 1.0
    middle = np.stack([along, -facing * (furniture[0].size[2] / 2 + AT_WORK)], axis=-1)
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    noise = smooth_noise(frames, 3 * count, SHIFTING_SECONDS, fps, generator).numpy().T.reshape(count, 3, frames)
    # Towards the furniture there is no room.
    step = np.stack([noise[:, 0], -facing[:, None] * np.abs(noise[:, 1])], axis=-1)
    return middle[:, None] + SHIFTING * step, np.where(facing > 0, 0.0, np.pi)[:, None] + 0.4 * noise[:, 2]


def _shelf(count: int, frames: int, fps: float, rng: np.random.Generator) -> tuple[Place, Heading]:
    """At work around a shelf: the last person comes late, the one before leaves and returns, straight from their place
    and back.
    """
    place, heading = _at_work(count, frames, fps, rng, SHELF)
    share = np.arange(frames) / max(frames, 1)
    reach = np.zeros((count, frames))
    for person, (left, back) in zip(range(count - 1, max(count - 3, 0), -1), ((-1.0, LATE), GONE), strict=False):
        walked = np.minimum(share - left, back - share).clip(0) * frames / fps * WALKING
        reach[person] = np.minimum(walked, DOOR)
        leaving = (walked > 0) & (share - left < back - share)
        outwards = np.where(place[person, :, 1] < 0, np.pi, 0.0)
        turned = np.where(leaving, outwards, outwards + np.pi)
        heading[person] = _slowly(np.where(walked > 0, turned, heading[person]), fps)
    return place + np.stack([np.zeros_like(reach), np.sign(place[..., 1]) * reach], axis=-1), heading


def _slowly(heading: Float[np.ndarray, " frame"], fps: float) -> Float[np.ndarray, " frame"]:
    """Turns that take their time."""
    reach = max(1, round(TURNING * fps / 2))
    padded = np.pad(heading, reach, mode="edge")
    return np.convolve(padded, np.ones(2 * reach + 1) / (2 * reach + 1), mode="valid")


def _table(count: int, frames: int, fps: float, rng: np.random.Generator) -> tuple[Place, Heading]:
    """Close around a table."""
    return _at_work(count, frames, fps, rng, TABLE)


@dataclass(frozen=True)
class Scene:
    """The ways of some people, and how many views it is for; ``touching`` pairs act on them. ``solid``: people give
    way to one another, so that no body passes through another. Cameras show what is within ``area`` metres of the
    middle. ``apart``: frames are so many seconds from one another. ``seconds``, ``fps`` and ``keypoints`` where nothing
    else is asked for (None: of no importance to the scene).
    """

    ways: Callable[[int, int, float, np.random.Generator], tuple[Place, Heading]]
    people: int
    views: int
    touching: bool = False
    solid: bool = False
    occlusion: OcclusionNoise = field(default_factory=OcclusionNoise)
    area: float = np.inf
    apart: float | None = None
    seconds: float | None = None
    fps: float | None = None
    keypoints: str | None = None


# A detector that is often wrong about people who are half hidden, and knows it.
_CROWDED = OcclusionNoise(
    guessed_confidence=(0.1, 0.6), blind_views=2, overlooked=0.25, phantoms=1 / 3, mostly_hidden=(0.5, 0.9)
)
SCENES = {
    "circling": Scene(_circling, 2, 4, solid=True),
    "crossing": Scene(_crossing, 4, 5, solid=True),
    "contact": Scene(_contact, 2, 6, touching=True, solid=True),
    "hall": Scene(_hall, 10, 8),
    "shelf": Scene(
        _shelf, 4, 5, occlusion=replace(_CROWDED, furniture=SHELF, door=DOOR), area=1.6, seconds=12.0, fps=25.0,
        keypoints="coco17",
    ),
    "table": Scene(
        _table, 4, 3, occlusion=replace(_CROWDED, furniture=TABLE, persistence=0.0), apart=5.0, seconds=300.0, fps=25.0,
        keypoints="coco17",
    ),
}  # fmt: skip


def scene_of(name: str, people: int | None = None, views: int | None = None) -> Scene:
    """The scene of that name, with its own number of people and views unless others are given.

    Raises:
        InputError: no such scene.
    """
    if name not in SCENES:
        raise InputError(f"unknown scene '{name}': choose one of {', '.join(SCENES)}")
    scene = SCENES[name]
    return replace(
        scene, people=scene.people if people is None else people, views=scene.views if views is None else views
    )


def _arm(side: str, held: tuple[float, float, float]) -> dict[str, Tensor]:
    """Local rotations of an arm that hangs on an upright trunk."""
    forwards, lowered, bent = held
    sign = 1.0 if side == "right" else -1.0
    about_x, about_y = (torch.eye(3, dtype=torch.float64)[axis] for axis in (0, 1))
    return {
        f"{side}_collar": torch.eye(3, dtype=torch.float64),
        f"{side}_shoulder": exp(lowered * about_x) @ exp(sign * forwards * about_y),
        f"{side}_elbow": exp(sign * bent * about_y),
        f"{side}_wrist": torch.eye(3, dtype=torch.float64),
    }


def _touching(body: BodyModel, one: BodyParams, other: BodyParams, frames: int) -> tuple[BodyParams, BodyParams]:
    """Two who face each other, standing upright and their arms as the acts hold them, as far as each has come."""
    act, share = (torch.from_numpy(values) for values in _share(frames))
    for number, held in enumerate(ACTS.values()):
        now = torch.where(act == number, share, 0.0)
        one, other = _posed(body, one, held, now), _posed(body, other, held, now)
        raised = other.pelvis.clone()
        raised[:, 1] += now * held.raised
        if held.hands:
            hand = body.joint_names.index("right_hand" if "right_hand" in body.joint_names else "right_wrist")
            miss = (posed_joints(body, one).positions - posed_joints(body, other).positions)[:, hand]
            raised = raised + now[:, None] * miss * torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
        other = BodyParams(raised, other.rotations, other.shape)
    return one, other


def _posed(body: BodyModel, params: BodyParams, held: _Act, share: Float[Tensor, " frame"]) -> BodyParams:
    eye = torch.eye(3, dtype=torch.float64)
    wanted = {**dict.fromkeys(STRAIGHT, eye), **_arm("right", held.right)}
    if held.left is not None:
        wanted |= _arm("left", held.left)
    rotations = params.rotations.clone()
    for name, rotation in wanted.items():
        joint = body.joint_names.index(name)
        rotations[:, joint] = geodesic(rotations[:, joint], rotation.expand(len(share), 3, 3), share)
    forward = rotations[:, 0, :, 2]
    heading = torch.atan2(forward[:, 0], forward[:, 2])
    upright = exp(torch.stack([torch.zeros_like(heading), heading, torch.zeros_like(heading)], -1))
    rotations[:, 0] = geodesic(rotations[:, 0], upright, share)
    posed = BodyParams(params.pelvis, rotations, params.shape)
    # On the same floor as before.
    feet = [body.joint_names.index(f"{side}_ankle") for side in ("left", "right")]
    sunk = (posed_joints(body, params).positions - posed_joints(body, posed).positions)[:, feet, 1].mean(1)
    return replace(posed, pelvis=posed.pelvis + sunk[:, None] * torch.eye(3, dtype=torch.float64)[1])
