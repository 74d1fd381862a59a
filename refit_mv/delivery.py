"""What a fit leaves behind: motion file, overlays, report, summary."""

import os
import platform
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from refit_mv import __version__
from refit_mv.body.model import BodyModel, posed_joints, vertices
from refit_mv.errors import InputError
from refit_mv.motion.formats import write_motion
from refit_mv.motion.motion import Motion
from refit_mv.people.evidence import Evidence, stature
from refit_mv.people.visible_error import left_out_error
from refit_mv.recipe import FitRecipe
from refit_mv.report.overlay import OverlayBody, blank_source, positions_by_number, render_overlay
from refit_mv.report.quality import QualityReport
from refit_mv.report.report import summary, write_report, write_summary
from refit_mv.report.verdict import frames_to_check
from refit_mv.session.observations import Observations
from refit_mv.session.session import Session, View, frame_source
from refit_mv.session.video import FrameSource
from refit_mv.status import FrameStatus
from refit_mv.take.layout import read_params, read_status, read_subject
from refit_mv.take.store import ResultStore

# Left-out errors need a few frames only, and two views to stand on.
LEFT_OUT_FRAMES = 32
FEWEST_VIEWS_TO_LEAVE_ONE_OUT = 3
# Without a calibrated size and without video an overlay still needs a page.
USUAL_SIZE = (1920, 1080)
# A body on an empty background is worth a look, not an hour of drawing: longer takes without pictures get no overlay.
LONGEST_BLANK_OVERLAY = 1000


@dataclass(frozen=True)
class Delivery:
    """Where the results are, the figures of ``summary.json``, and what a person should know about them."""

    out: Path
    report: Path
    summary: dict[str, object]
    warnings: tuple[str, ...] = ()


def package_versions() -> dict[str, str]:
    """Versions of what took part in the numbers."""
    found = {"refit-mv": __version__, "python": platform.python_version()}
    for name in ("torch", "numpy", "scipy", "h5py"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def deliver(
    *,
    session: Session,
    source_numbers: Int[np.ndarray, "frame view"],
    warnings: tuple[str, ...],
    body: BodyModel,
    evidence: Evidence,
    observations: Observations,
    store: ResultStore,
    recipe: FitRecipe,
    device: str,
    out: Path,
    seconds: float,
    progress: Callable[[str, int, int], None],
) -> Delivery:
    """Write every output that follows from the finished store."""
    params, status = read_params(store), read_status(store)
    if any(word is not FrameStatus.ABSENT for word in status):
        fps, numbers = observations.fps, observations.frame_numbers
        motion = Motion.of_fit(body, params, fps=fps, frame_numbers=numbers, status=status, up=session.up)
        write_motion(out / "person_0.npz", motion)
    report = _quality(session, warnings, body, evidence, observations, store, recipe, device, seconds)
    pictures: dict[str, bytes] = {}
    if recipe.overlay:
        pictures = _overlays(session, source_numbers, body, observations, store, report, out, progress)
    write_report(out / "report.html", report, pictures)
    write_summary(out / "summary.json", report)
    return Delivery(out, out / "report.html", summary(report), warnings)


def _quality(
    session: Session,
    warnings: tuple[str, ...],
    body: BodyModel,
    evidence: Evidence,
    observations: Observations,
    store: ResultStore,
    recipe: FitRecipe,
    device: str,
    seconds: float,
) -> QualityReport:
    params, status = read_params(store), read_status(store)
    absent = np.array([word is FrameStatus.ABSENT for word in status])
    joints = posed_joints(body, params).positions.numpy()
    joints[absent] = np.nan
    covariance = store.read("joint_covariance")
    sigma = np.sqrt(np.maximum(np.trace(covariance, axis1=-2, axis2=-1) / 3, 0))
    sigma[absent] = np.nan
    left_out = None
    if len(session.rig) >= FEWEST_VIEWS_TO_LEAVE_ONE_OUT:
        subject = read_subject(store)
        left_out = left_out_error(
            body,
            session.rig,
            evidence,
            subject,
            recipe.build_keypoint_optimizer(),
            recipe.cost,
            LEFT_OUT_FRAMES,
            device,
        )
    return QualityReport(
        title=session.path.resolve().name,
        frame_numbers=observations.frame_numbers,
        fps=observations.fps,
        view_names=observations.view_names,
        status=tuple(str(word) for word in status),
        landmark_names=evidence.landmark_names,
        pixel_error=store.read("pixel_error").astype(np.float64),
        confidence=evidence.confidence.numpy(),
        rig=session.rig,
        optimizer=str(store.read_static("optimizer")),
        body=body.name,
        versions=package_versions(),
        seconds=seconds,
        joint_names=body.joint_names,
        joints_m=joints,
        joint_sigma_m=sigma.astype(np.float64),
        left_out_px=left_out,
        swapped=store.read("swapped").astype(bool),
        person_height_m=stature(body, params),
        up=session.up,
        warnings=warnings,
    )


def _overlays(
    session: Session,
    source_numbers: Int[np.ndarray, "frame view"],
    body: BodyModel,
    observations: Observations,
    store: ResultStore,
    report: QualityReport,
    out: Path,
    progress: Callable[[str, int, int], None],
) -> dict[str, bytes]:
    """One video per view, and the pictures that the report shows."""
    moving = body.to(torch.float32)

    def surface(start: int, stop: int) -> Float[Tensor, "frame vertex 3"]:
        return vertices(moving, read_params(store, slice(start, stop)).to(torch.float32))

    wanted = frames_to_check(report)
    views = {view.name: view for view in session.views}
    finished: list[str] = []

    def draw(index: int) -> dict[str, bytes]:
        torch.set_num_threads(1)
        name = observations.view_names[index]
        source, positions = _pictures(session, views[name], observations, source_numbers[:, index])
        person = OverlayBody(
            faces=body.faces,
            vertices_of=surface,
            status=report.status,
            keypoints=observations.pixels[:, index, 0].astype(np.float64),
            confidence=observations.confidence[:, index, 0].astype(np.float64),
        )
        mine = [item for item in wanted if item.view == name]
        shots: dict[int, bytes] = {}
        if source is not None:
            shots = render_overlay(
                source,
                session.rig[name],
                [person],
                out / "overlay" / f"{name}.mp4",
                positions=positions,
                frame_numbers=observations.frame_numbers,
                fps=observations.fps,
                snapshots=[item.index for item in mine],
            )
        finished.append(name)
        progress("overlay", len(finished), len(observations.view_names))
        return {item.picture_key: shots[item.index] for item in mine if item.index in shots}

    # Drawing and encoding happen outside Python's lock, so views are drawn side by side.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        parts = list(pool.map(draw, range(len(observations.view_names))))
    return {key: picture for part in parts for key, picture in part.items()}


def _pictures(
    session: Session, view: View, observations: Observations, source_numbers: Int[np.ndarray, " frame"]
) -> tuple[FrameSource | None, Int[np.ndarray, " frame"] | None]:
    """A view's pictures and where in them the fitted frames are; a blank page, or nothing for long takes, where there
    are none.
    """
    try:
        source = frame_source(view)
    except InputError:
        # Said when the session was opened: the keypoints were there, the pictures could not be read.
        source = None
    if source is not None:
        return source, positions_by_number(source, source_numbers)
    if len(observations) > LONGEST_BLANK_OVERLAY:
        return None, None
    size = session.rig[view.name].size or USUAL_SIZE
    return blank_source(size, len(observations), observations.fps), None
