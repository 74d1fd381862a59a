"""From a session folder to a motion, in one straight line."""

import hashlib
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from refit_mv.body.files import load_body
from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.delivery import Delivery, deliver
from refit_mv.detect.detector import detector
from refit_mv.detect.run_detection import run_detection
from refit_mv.errors import InputError
from refit_mv.image.crop_reading import crop_reader
from refit_mv.optimizers.image import picture_start
from refit_mv.people.association import Chosen, choose_person
from refit_mv.people.evidence import Evidence, check_stature, evidence_on
from refit_mv.people.subject import Start, meet
from refit_mv.people.visible_error import pixel_error
from refit_mv.progress import Progress, quiet
from refit_mv.recipe import FitRecipe
from refit_mv.session.observation_reading import LoadedObservations, read_observations
from refit_mv.session.session import Session, open_session, with_keypoints
from refit_mv.solve.gaps import bridged_frames, seen_frames
from refit_mv.solve.initialise import initialise
from refit_mv.take.layout import describe, fields, read_params, read_subject, row_block
from refit_mv.take.store import ResultStore


@dataclass(frozen=True)
class FitRequest:
    """What to fit and how. ``calib`` None looks for the calibration inside the session; ``out`` None writes to
    ``<session>/refit``.
    """

    session: Path
    recipe: FitRecipe
    calib: Path | None = None
    out: Path | None = None
    body: str = "open"
    keypoints: str | None = None
    units: str | None = None
    frames: slice | None = None
    fps: float | None = None
    device: str = "auto"
    detector: str = "mediapipe"
    detector_weights: Path | None = None
    resume: bool = False

    @property
    def out_folder(self) -> Path:
        return self.session / "refit" if self.out is None else self.out


def fit(request: FitRequest, progress: Progress = quiet) -> Delivery:
    """Fit one person to a session and write everything a studio needs.

    Raises:
        InputError: the session, the calibration or an option cannot be used; the message says which and what to do.
    """
    began = time.perf_counter()
    # Before anything is read: a recipe that cannot be obeyed.
    request.recipe.build_optimizer()
    session = open_session(request.session, request.calib, request.units)
    out = _prepare(request.out_folder)
    session = _with_detections(session, request, out, progress)
    loaded = read_observations(session, request.keypoints, request.frames, request.fps)
    session = replace(session, rig=session.rig.subset(loaded.observations.view_names))
    body = load_body(request.body)
    check_stature(body, loaded.observations, session.rig)
    chosen = choose_person(loaded.observations, session.rig)
    evidence = evidence_on(body, chosen.observations)
    start = None
    if request.recipe.optimizer == "image":
        reader = crop_reader(session, loaded.source_numbers, chosen.observations)
        start = picture_start(body, reader, request.recipe.image, _device(request.device))
    store = _open_store(request, session, body, chosen, evidence, start, out / "fit.h5", progress)
    _solve(request, session, body, chosen, evidence, start, store, progress)
    return deliver(
        session=session,
        source_numbers=loaded.source_numbers,
        warnings=(*session.warnings, *loaded.warnings, *_about_choice(loaded, chosen)),
        body=body,
        evidence=evidence,
        observations=chosen.observations,
        store=store,
        recipe=request.recipe,
        device=_device(request.device),
        out=out,
        seconds=time.perf_counter() - began,
        progress=progress,
    )


def _prepare(out: Path) -> Path:
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; give a folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot create the output folder {out}: {error.strerror}; give another --out") from None
    return out


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError):
        raise InputError(f"device '{name}' is not available here; use --device cpu, or auto") from None
    return name


def _with_detections(session: Session, request: FitRequest, out: Path, progress: Progress) -> Session:
    """Sessions without keypoint files get them from a detector, once: a second run finds them in the output folder."""
    if any(view.keypoints is not None for view in session.views):
        return session
    chosen = detector(request.detector, request.detector_weights)
    folder = run_detection(session, chosen, out, lambda view, done, total: progress(f"detect {view}", done, total))
    return with_keypoints(session, folder)


def _about_choice(loaded: LoadedObservations, chosen: Chosen) -> tuple[str, ...]:
    """What a person should know about who was followed."""
    notes = []
    crowd = int((loaded.observations.confidence.max(-1) > 0).sum(-1).max())
    if crowd > 1:
        notes.append(f"up to {crowd} people are in a picture; the one that the views agree on was fitted")
    if len(chosen.observations.view_names) > 1:
        lonely = int((chosen.agreeing_views < 2).sum())
        if lonely:
            notes.append(f"in {lonely} of {len(chosen.agreeing_views)} frames no two views agree on a person")
    return tuple(notes)


def _fingerprint(request: FitRequest, session: Session, body: BodyModel, chosen: Chosen) -> str:
    """Identifies everything that the result depends on, so that a resumed run cannot mix two fits."""
    digest = hashlib.sha256()
    for camera in session.rig:
        motion = camera.cam_from_world
        for array in (camera.matrix, camera.distortion, motion.rotation.numpy(), motion.translation.numpy()):
            digest.update(np.ascontiguousarray(array).tobytes())
    for array in (chosen.observations.pixels, chosen.observations.confidence, chosen.observations.frame_numbers):
        digest.update(np.ascontiguousarray(array).tobytes())
    for tensor in (body.template, body.shape_directions, body.landmark_regressor):
        digest.update(tensor.numpy().tobytes())
    digest.update(
        repr((replace(request.recipe, overlay=True), session.rig.names, body.name, chosen.observations.fps)).encode()
    )
    return digest.hexdigest()


def _open_store(
    request: FitRequest,
    session: Session,
    body: BodyModel,
    chosen: Chosen,
    evidence: Evidence,
    start: Start | None,
    path: Path,
    progress: Progress,
) -> ResultStore:
    """The store of an earlier, interrupted run, or a new one: then the subject is met first."""
    fingerprint = _fingerprint(request, session, body, chosen)
    if request.resume and path.exists():
        return ResultStore.open(path, fingerprint)
    progress("person", 0, 1)
    recipe = request.recipe
    subject = meet(
        body,
        session.rig,
        evidence,
        recipe.build_optimizer(),
        recipe.cost,
        recipe.subject_frames,
        _device(request.device),
        start,
    )
    progress("person", 1, 1)
    static = {
        "shape": subject.shape,
        "landmark_offset": subject.landmark_offset,
        "landmark_names": "\n".join(evidence.landmark_names),
        "joint_names": "\n".join(body.joint_names),
        "view_names": "\n".join(session.rig.names),
        "keypoint_set": chosen.observations.keypoints.name,
        "body": body.name,
        "optimizer": recipe.optimizer,
        "recipe": repr(recipe),
        "fps": chosen.observations.fps,
    }
    layout = fields(body.joint_count, len(session.rig), len(evidence.landmark_names))
    return ResultStore.create(path, len(evidence), layout, describe(static), recipe.chunk_frames, fingerprint)


def _solve(
    request: FitRequest,
    session: Session,
    body: BodyModel,
    chosen: Chosen,
    evidence: Evidence,
    start: Start | None,
    store: ResultStore,
    progress: Progress,
) -> None:
    """Fit chunk after chunk. A chunk depends on nothing but the evidence, the subject and the last frames of the chunk
    before, all read from the store.
    """
    recipe, device = request.recipe, _device(request.device)
    optimizer = recipe.build_optimizer()
    subject = read_subject(store)
    projector = session.rig.stacked()
    step = 1 / chosen.observations.fps
    seen = seen_frames(evidence.confidence)
    bridged = bridged_frames(seen, step, recipe.cost.time.longest_gap)
    present = seen | bridged
    for index in store.unfinished():
        chunk = store.chunk_rows(index)
        # Frames beyond the chunk are there to be looked at; their own results come with the next chunk.
        wanted = slice(chunk.start, min(chunk.stop + recipe.lookahead, len(evidence)))
        problem = evidence.frames(wanted).problem(body, session.rig, recipe.problem_cost, "locked", device=device)
        problem = subject.lock(problem)
        if recipe.smooth != "off":
            before = _preceding(store, chunk.start, present)
            problem = replace(
                problem,
                time_step=step,
                bridged=bridged[wanted].to(device),
                preceding=None if before is None else before.to(torch.float64, device),
            )
        initial = initialise(problem) if start is None else start(problem, torch.arange(wanted.start, wanted.stop))
        result = optimizer.solve(problem, subject.dress(initial))[: chunk.stop - chunk.start]
        part = evidence.frames(chunk)
        if result.swapped is not None:
            part = part.with_sides_exchanged(result.swapped.cpu())
        error = pixel_error(problem.skin.to(torch.float64, "cpu"), projector, result.params.to(torch.float64), part)
        rows = row_block(
            result,
            part.pixels,
            part.confidence,
            error,
            chosen.detection[chunk],
            chosen.observations.frame_numbers[chunk],
        )
        store.write_chunk(index, rows)
        progress("fit", chunk.stop, store.frame_count)


def _preceding(store: ResultStore, first: int, present: Bool[Tensor, " frame"]) -> BodyParams | None:
    """The two frames before the ``first``, or the one, whose motion goes on in it."""
    count = 0
    while count < min(2, first) and bool(present[first - 1 - count]):
        count += 1
    return read_params(store, slice(first - count, first)) if count else None
