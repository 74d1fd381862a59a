"""Rendered people on disk: drawn once, read by memory map as often as wanted.

Every person has a pose, a shape and clothes of their own and is seen by one or more cameras of a random rig; a picture
is a window of the camera's image around the person, with a margin for augmentation. Person ``i`` depends on nothing but
the seed and ``i``.
"""

import json
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8

from refit_mv.body.model import BodyModel, vertices
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import load_pose_prior
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.errors import InputError
from refit_mv.files import complete_or_absent
from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.geometry.transforms import RigidTransform
from refit_mv.motion.motion import Motion
from refit_mv.progress import Progress, quiet
from refit_mv.ranges import require_positive
from refit_mv.workshop.pictures.appearance import draw_appearance, tailor
from refit_mv.workshop.pictures.backdrop import draw_background, occlude
from refit_mv.workshop.pictures.examples import HIPS, POINTS, Labels, box_around
from refit_mv.workshop.pictures.render import draw_light, encoded, render
from refit_mv.workshop.synthetic.pose_bank import PoseBank, PoseMix, draw_poses
from refit_mv.workshop.synthetic.rigs import random_rig
from refit_mv.workshop.synthetic.session import STANDING_RADIUS, motion_params, random_shape

PICTURES, LABELS, FACTS = "pictures.npy", "labels.npz", "facts.json"
# People posed at once: vertices of 32 bodies in float32 are 2.5 MB.
BATCH = 32


@dataclass(frozen=True)
class PeopleOptions:
    """``count`` people before ``views`` cameras each. Pictures are squares of ``side`` pixels that show ``margin``
    times the person's box. ``distance`` of the cameras in metres; ``occluded`` is the share of pictures in which
    something stands before the person.
    """

    count: int = 12000
    views: int = 1
    side: int = 136
    margin: float = 1.4
    distance: tuple[float, float] = (2.0, 7.0)
    occluded: float = 0.0
    poses: PoseMix = field(default_factory=PoseMix)

    def __post_init__(self) -> None:
        require_positive(self, "count", "views", "side", "margin", "distance")


@dataclass(frozen=True, eq=False)
class RenderedPeople:
    """A folder of rendered people. Example ``i`` shows person ``i // views`` in view ``i % views``; ``world_rotation``
    and ``world_translation`` are each example's cam_from_world, ``truth`` the people in the world.
    """

    folder: Path
    views: int
    labels: Labels
    pictures: UInt8[np.ndarray, "example height width 3"]
    world_rotation: Float[np.ndarray, "example 3 3"]
    world_translation: Float[np.ndarray, "example 3"]
    truth: BodyParams
    are_windows: bool = True

    def __len__(self) -> int:
        return len(self.labels)

    def picture(self, index: int) -> UInt8[np.ndarray, "height width 3"]:
        return np.asarray(self.pictures[index])

    def rig(self, person: int) -> CameraRig:
        """The cameras of a person's pictures: pinholes of the windows, not of the images these were cut from."""
        side = self.pictures.shape[1]
        cameras = []
        for view in range(self.views):
            at = person * self.views + view
            pose = RigidTransform(
                torch.from_numpy(self.world_rotation[at]), torch.from_numpy(self.world_translation[at])
            )
            cameras.append(Camera(f"view{view + 1}", (side, side), self.labels.matrix[at], np.zeros(0), pose))
        return CameraRig(tuple(cameras))


@dataclass(frozen=True, eq=False)
class _Cast:
    """Drawn people, not rendered yet, and each one's generator, which goes on to draw their looks."""

    truth: BodyParams
    generators: list[np.random.Generator]
    labels: Labels
    rotation: Float[np.ndarray, "example 3 3"]
    translation: Float[np.ndarray, "example 3"]


def _draw_cast(body: BodyModel, bank: PoseBank, options: PeopleOptions, seed: int) -> _Cast:
    """Poses, shapes and cameras. People are drawn one by one, so that a person does not depend on how many there
    are.
    """
    prior, parts, generators = load_pose_prior(), [], []
    for person in range(options.count):
        rng = np.random.default_rng([seed, person])
        height, rotations = draw_poses(bank, prior, options.poses, 1, rng)
        reach, direction = STANDING_RADIUS * np.sqrt(rng.uniform()), rng.uniform(0, 2 * np.pi)
        place = torch.tensor([[reach * np.sin(direction), float(height), reach * np.cos(direction)]])
        motion = Motion("one person", 1.0, place.to(torch.float64), rotations)
        parts.append(motion_params(body, motion, random_shape(body, 1, rng)))
        generators.append(rng)
    truth = BodyParams.concatenate(parts)
    points = pose_landmarks(landmark_skin(body, POINTS), truth).positions.numpy()
    rigs = [random_rig([seed, person, 1], options.views, distance=options.distance) for person in range(options.count)]
    cameras = [camera for rig in rigs for camera in rig]
    rotation = np.stack([camera.cam_from_world.rotation.numpy() for camera in cameras])
    translation = np.stack([camera.cam_from_world.translation.numpy() for camera in cameras])
    image = np.stack([camera.matrix for camera in cameras])

    owner = np.repeat(np.arange(options.count), options.views)
    seen = points[owner] @ rotation.transpose(0, 2, 1) + translation[:, None]
    matrix = window_matrices(image, box_around(_pixels(seen, image)), options.side, options.margin)
    pixels = _pixels(seen, matrix)
    local = truth.rotations.numpy()[owner].copy()
    local[:, 0] = rotation @ local[:, 0]
    everything = np.ones(len(owner), dtype=bool)
    certain = np.ones((*seen.shape[:2], 1))
    labels = Labels(
        matrix=matrix,
        box=box_around(pixels),
        pelvis=(rotation @ truth.pelvis.numpy()[owner, :, None])[..., 0] + translation,
        rotations=local,
        shape=truth.shape.numpy()[owner],
        has_pose=everything,
        has_shape=everything,
        has_position=everything,
        points=np.concatenate([pixels, certain], axis=2),
        points_3d=np.concatenate([seen - seen[:, list(HIPS)].mean(1, keepdims=True), certain], axis=2),
    )
    return _Cast(truth, generators, labels, rotation, translation)


def _pixels(
    p_cam: Float[np.ndarray, "example point 3"], matrix: Float[np.ndarray, "example 3 3"]
) -> Float[np.ndarray, "example point 2"]:
    flat = p_cam @ matrix.transpose(0, 2, 1)
    return flat[..., :2] / flat[..., 2:]


def window_matrices(
    matrix: Float[np.ndarray, "example 3 3"], box: Float[np.ndarray, "example 3"], side: int, margin: float
) -> Float[np.ndarray, "example 3 3"]:
    """The cameras of square windows around the boxes, scaled to ``side`` pixels."""
    scale = side / (margin * box[:, 2])
    window_from_image = np.tile(np.eye(3), (len(box), 1, 1))
    window_from_image[:, 0, 0] = window_from_image[:, 1, 1] = scale
    window_from_image[:, :2, 2] = (side - 1) / 2 - scale[:, None] * box[:, :2]
    return window_from_image @ matrix


def render_people(
    body: BodyModel,
    bank: PoseBank,
    options: PeopleOptions,
    folder: Path,
    seed: int,
    progress: Progress = quiet,
) -> RenderedPeople:
    """Draw, render and store people; a folder that holds the very same ones already is only opened.

    Raises:
        InputError: the folder holds other people.
    """
    facts = _facts(body, bank, options, seed)
    if (folder / FACTS).exists():
        people = open_people(folder)
        if json.loads((folder / FACTS).read_text("utf-8")) != facts:
            raise InputError(f"{folder}: holds people rendered with other options; choose another folder or delete it")
        return people
    folder.mkdir(parents=True, exist_ok=True)
    cast = _draw_cast(body, bank, options, seed)
    _render_cast(body, cast, options, folder, progress)
    np.savez(
        folder / LABELS,
        **{item.name: getattr(cast.labels, item.name) for item in fields(Labels)},
        world_rotation=cast.rotation,
        world_translation=cast.translation,
        truth_pelvis=cast.truth.pelvis.numpy(),
        truth_rotations=cast.truth.rotations.numpy(),
    )
    # Last, so that an interrupted run leaves no folder that looks finished.
    with complete_or_absent(folder / FACTS) as temporary:
        temporary.write_text(json.dumps(facts), encoding="utf-8")
    return open_people(folder)


def _render_cast(body: BodyModel, cast: _Cast, options: PeopleOptions, folder: Path, progress: Progress) -> None:
    side, small = options.side, body.to(torch.float32)
    shape = (len(cast.labels), side, side, 3)
    pictures = np.lib.format.open_memmap(folder / PICTURES, "w+", np.uint8, shape)
    for person, rng in enumerate(cast.generators):
        if person % BATCH == 0:
            surface = vertices(small, cast.truth[slice(person, person + BATCH)].to(torch.float32)).numpy()
            progress("rendering", person, options.count)
        looks = draw_appearance(tailor(body), rng)
        for at in range(person * options.views, (person + 1) * options.views):
            background = draw_background((side, side), rng)
            light = draw_light(rng)
            turn, shift = cast.rotation[at].astype(np.float32), cast.translation[at].astype(np.float32)
            p_cam = surface[person % BATCH] @ turn.T + shift
            picture = render(body, p_cam, cast.labels.matrix[at], looks, light, background).pixels
            if rng.uniform() < options.occluded:
                linear = (picture.astype(np.float32) / 255) ** 2.2
                occlude(linear, cast.labels.points[at, rng.integers(len(POINTS)), :2], rng)
                picture = encoded(linear)
            pictures[at] = picture
    pictures.flush()
    progress("rendering", options.count, options.count)


def _facts(body: BodyModel, bank: PoseBank, options: PeopleOptions, seed: int) -> dict[str, object]:
    plain = json.loads(json.dumps(options, default=vars))
    return {"body": body.name, "poses": len(bank), "seed": seed, "options": plain}


def open_people(folder: Path) -> RenderedPeople:
    """Open a folder that :func:`render_people` wrote.

    Raises:
        InputError: there are no rendered people in it, or only half.
    """
    try:
        views = int(json.loads((folder / FACTS).read_text("utf-8"))["options"]["views"])
        pictures = np.load(folder / PICTURES, mmap_mode="r", allow_pickle=False)
        with np.load(folder / LABELS, allow_pickle=False) as arrays:
            labels = Labels(**{item.name: arrays[item.name] for item in fields(Labels)})
            shape = torch.from_numpy(labels.shape[::views].copy())
            truth = BodyParams(
                torch.from_numpy(arrays["truth_pelvis"]), torch.from_numpy(arrays["truth_rotations"]), shape
            )
            return RenderedPeople(
                folder, views, labels, pictures, arrays["world_rotation"], arrays["world_translation"], truth
            )
    except (OSError, ValueError, KeyError, EOFError, TypeError) as error:
        raise InputError(
            f"{folder}: holds no rendered people ({str(error).splitlines()[0]}); delete it and render again"
        ) from None
