"""A person's shape from one view of a session, the pose being known from elsewhere."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from refit_mv.body.files import load_body
from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.errors import InputError
from refit_mv.files import alone_in, complete_or_absent, made_folder
from refit_mv.geometry.camera import Camera
from refit_mv.image.crop_reading import crop_reader
from refit_mv.image.crops import normalised
from refit_mv.image.points import feedback_body
from refit_mv.image.posed import PosedReFit, fit_shapes
from refit_mv.image.shape_fit import ShapeEvidence, ShapeOptions, fit_shape
from refit_mv.image.weights import load_image_network
from refit_mv.motion.amass import read_amass
from refit_mv.people.cast import Wanted, cast, wanted
from refit_mv.people.edits_file import people_edits
from refit_mv.people.evidence import evidence_on
from refit_mv.people.stature import stature
from refit_mv.people.tracks import follow
from refit_mv.session.images import open_images
from refit_mv.session.observations import PersonObservations
from refit_mv.session.recording import Recording, read_recording
from refit_mv.session.session import Session, open_session
from refit_mv.status import FrameStatus

# Of longer recordings so many frames, evenly spread: neighbours show the same.
MOST_FRAMES = 32
SMPL_JOINTS = 24


@dataclass(frozen=True)
class ShapeRequest:
    """What to fit. ``pose`` is a motion of ``body`` in the session's world whose rotations and place are held;
    ``weights`` None: by least squares, else by this image network. ``masks``: folder of the view's silhouettes. ``out``
    None writes ``<session>/refit/shape.json``. ``mapping`` gives views to cameras where names do not tell. ``person``:
    whose shape, as a fit of all views has them, its ``people_edits`` included; None: who is seen best in the view.
    """

    session: Path
    pose: Path
    calib: Path | None = None
    units: str | None = None
    view: str | None = None
    body: str = "open"
    keypoints: str | None = None
    masks: Path | None = None
    weights: Path | None = None
    out: Path | None = None
    options: ShapeOptions = field(default_factory=ShapeOptions)
    mapping: Mapping[str, str] | None = None
    person: str | None = None
    people_edits: Path | None = None


@dataclass(frozen=True)
class FoundShape:
    """The result, as it is written: ``sigma`` are standard deviations of the coefficients (of the learned way: their
    spread over frames).
    """

    body: str
    view: str
    method: str
    frames: int
    shape: tuple[float, ...]
    sigma: tuple[float, ...]
    stature: float
    file: str


def fit_session_shape(request: ShapeRequest) -> FoundShape:
    """Fit one shape to one view of a session, and write it.

    Raises:
        InputError: the session, the motion, the silhouettes or the weights cannot be used, or have no frame in common.
    """
    edits = people_edits(request.session, request.people_edits)
    wish = wanted("main", () if request.person is None else (request.person,), edits)
    session = open_session(request.session, request.calib, request.units, request.mapping)
    view = _view(session, request.view)
    if wish.by_hand:
        recording, person = _chosen(read_recording(session, request.keypoints), view, wish)
    else:
        recording = read_recording(session.of_views([view]), request.keypoints)
        (track,) = follow(recording.observations, recording.rig, "main")
        person = recording.observations.person(track.detection)
    body = load_body(request.body)
    rows, held = _held(request.pose, body, person)
    if request.weights is None:
        shape, sigma = _classic(request, body, recording.rig[view], person.frames(rows), held)
        method = "keypoints" if request.masks is None else "keypoints and silhouettes"
    else:
        shape, sigma = _learned(request.weights, body, recording, person, rows, held)
        method = "image network"
    path = request.out or request.session / "refit" / "shape.json"
    fitted = replace(held, shape=torch.from_numpy(shape).expand(len(held), -1))
    found = FoundShape(
        body=body.name,
        view=view,
        method=method,
        frames=len(rows),
        shape=tuple(float(value) for value in shape),
        sigma=tuple(float(value) for value in sigma),
        stature=stature(body, fitted),
        file=str(path),
    )
    with alone_in(made_folder(path.parent)), complete_or_absent(path) as part:
        plain = {key: value for key, value in vars(found).items() if key != "file"}
        part.write_text(json.dumps(plain, indent=1), encoding="utf-8")
    return found


def _chosen(whole: Recording, view: str, wish: Wanted) -> tuple[Recording, PersonObservations]:
    """One view of a recording, and what it shows of somebody who is known from all views."""
    seen = whole.observations
    if view not in seen.view_names:
        raise InputError(f"--view {view}: has no keypoints; {', '.join(seen.view_names)} have")
    (track,), place = cast(seen, whole.rig, wish).tracks, [seen.view_names.index(view)]
    mine = track.of(seen)
    person = replace(mine, pixels=mine.pixels[:, place], confidence=mine.confidence[:, place], view_names=(view,))
    session, numbers = whole.session.of_views([view]), whole.source_numbers[:, place]
    return Recording(session, seen.views([view]), numbers, whole.warnings), person


def _view(session: Session, wanted: str | None) -> str:
    """The named view, or the first with keypoints."""
    if wanted is not None:
        if wanted not in session.view_names:
            raise InputError(f"--view {wanted}: no such view; the session has {', '.join(session.view_names)}")
        return wanted
    return next((view.name for view in session.views if view.keypoints is not None), session.view_names[0])


def _held(path: Path, body: BodyModel, person: PersonObservations) -> tuple[Int[np.ndarray, " row"], BodyParams]:
    """Rows of the observations that the motion has a fitted pose for, evenly spread, and these poses on the mean
    body.
    """
    motion = read_amass(path, body)
    place = {
        int(number): index
        for index, number in enumerate(motion.frame_numbers)
        if motion.status[index] not in (FrameStatus.ABSENT, FrameStatus.FAILED)
    }
    seen = np.any(person.confidence[:, 0] > 0, axis=-1)
    common = [row for row, number in enumerate(person.frame_numbers.tolist()) if number in place and seen[row]]
    if not common:
        raise InputError(f"{path}: no frame in which the motion has a pose and the view shows a person")
    spread = np.unique(np.linspace(0, len(common) - 1, min(MOST_FRAMES, len(common))).round().astype(int))
    rows = np.array(common)[spread]
    params = motion.params[torch.tensor([place[int(person.frame_numbers[row])] for row in rows])]
    return rows, replace(params, shape=torch.zeros_like(params.shape))


def _classic(
    request: ShapeRequest, body: BodyModel, camera: Camera, person: PersonObservations, held: BodyParams
) -> tuple[Float[np.ndarray, " shape"], Float[np.ndarray, " shape"]]:
    evidence = evidence_on(body, person)
    fit = fit_shape(
        body,
        held,
        ShapeEvidence(
            camera,
            evidence.landmark_names,
            evidence.pixels[:, 0].numpy(),
            evidence.confidence[:, 0].numpy(),
            _masks(request.masks, camera, person.frame_numbers),
        ),
        request.options,
    )
    return fit.shape, fit.sigma


def _masks(
    folder: Path | None, camera: Camera, numbers: Int[np.ndarray, " frame"]
) -> list[Bool[np.ndarray, "height width"] | None]:
    if folder is None:
        return [None] * len(numbers)
    pictures = open_images(folder)
    if camera.size is not None and pictures.size != camera.size:
        raise InputError(
            f"--masks {folder}: silhouettes of {pictures.size[0]}×{pictures.size[1]} pixels, the camera has"
            f" {camera.size[0]}×{camera.size[1]}; they must be as large as the pictures"
        )
    place = {int(number): index for index, number in enumerate(pictures.frame_numbers)}
    found = []
    for number in numbers.tolist():
        at = place.get(number)
        found.append(None if at is None else next(iter(pictures.frames(at, at + 1)))[..., 0] > 127)
    if all(mask is None for mask in found):
        raise InputError(f"--masks {folder}: no silhouette of a frame that is fitted; number them like the frames")
    return found


def _learned(
    weights: Path,
    body: BodyModel,
    recording: Recording,
    person: PersonObservations,
    rows: Int[np.ndarray, " row"],
    held: BodyParams,
) -> tuple[Float[np.ndarray, " shape"], Float[np.ndarray, " shape"]]:
    (view,) = recording.rig.names
    reader = crop_reader(recording.session, recording.source_numbers, person)
    if reader.pictures.sources[0] is None:
        raise InputError(f"--weights needs the pictures of view '{view}', and there are only keypoints")
    network = PosedReFit.of(load_image_network(weights)[0]).eval()
    feedback = feedback_body(body, network.options).to(torch.float32)
    crops = reader.read(rows.tolist(), network.options.crop_size)
    seen_by = next(iter(recording.rig)).cam_from_world
    rotations = held.rotations[:, :SMPL_JOINTS].clone()
    rotations[:, 0] = seen_by.rotation @ rotations[:, 0]
    in_camera = BodyParams(seen_by.apply(held.pelvis), rotations, held.shape).to(torch.float32)
    images, cameras = normalised(crops.pictures), crops.cameras.to(torch.float32)
    each = fit_shapes(network, images, cameras, feedback, in_camera).numpy().astype(np.float64)
    shown = crops.weight.numpy() > 0
    if not shown.any():
        raise InputError(f"view '{view}': no picture of a frame that is fitted")
    each = each[shown]
    return each.mean(0), each.std(0)
