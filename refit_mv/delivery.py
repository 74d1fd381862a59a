"""What a fit leaves behind: motion file, overlays, report, summary."""

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from refit_mv import __version__
from refit_mv.body.model import BodyModel, posed_joints, vertices
from refit_mv.export.amass import write_amass
from refit_mv.fitting.evidence import Evidence, stature
from refit_mv.fitting.result import FrameStatus
from refit_mv.fitting.result_store import read_params, read_status
from refit_mv.fitting.subject import Subject
from refit_mv.fitting.visible_error import left_out_error
from refit_mv.recipe import FitRecipe
from refit_mv.report.overlay import OverlayBody, blank_source, render_overlay
from refit_mv.report.quality import QualityReport
from refit_mv.report.report import summary, write_report, write_summary
from refit_mv.report.verdict import frames_to_check
from refit_mv.session.observations import Observations
from refit_mv.session.session import Session, frame_source
from refit_mv.session.store import ResultStore

# Left-out errors need a few frames only, and two views to stand on.
LEFT_OUT_FRAMES = 32
FEWEST_VIEWS_TO_LEAVE_ONE_OUT = 3
# Without a calibrated size and without video an overlay still needs a page.
USUAL_SIZE = (1920, 1080)


@dataclass(frozen=True)
class Delivery:
    """Where the results are, and the figures of ``summary.json``."""

    out: Path
    report: Path
    summary: dict[str, object]


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
    progress,
) -> Delivery:
    """Write every output that follows from the finished store."""
    params, status = read_params(store), read_status(store)
    words = tuple(str(word) for word in status)
    fps, numbers = observations.fps, observations.frame_numbers
    if any(word is not FrameStatus.ABSENT for word in status):
        write_amass(out / "person_0.npz", body, params, fps=fps, frame_numbers=numbers, status=words, up=session.up)
    report = _quality(session, warnings, body, evidence, observations, store, recipe, device, seconds)
    pictures: dict[str, bytes] = {}
    if recipe.overlay:
        pictures = _overlays(session, source_numbers, body, observations, store, report, out, progress)
    write_report(out / "report.html", report, pictures)
    write_summary(out / "summary.json", report)
    return Delivery(out, out / "report.html", summary(report))


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
        subject = Subject(params.shape[0], torch.from_numpy(np.asarray(store.read_static("landmark_offset"))))
        left_out = left_out_error(
            body, session.rig, evidence, subject, recipe.build_optimizer(), recipe.cost, LEFT_OUT_FRAMES, device
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
    progress,
) -> dict[str, bytes]:
    """One video per view, and the pictures that the report shows."""
    moving = body.to(torch.float32)

    def surface(start: int, stop: int) -> Float[Tensor, "frame vertex 3"]:
        return vertices(moving, read_params(store, slice(start, stop)).to(torch.float32))

    pictures: dict[str, bytes] = {}
    wanted = frames_to_check(report)
    views = {view.name: view for view in session.views}
    for index, name in enumerate(observations.view_names):
        progress("overlay", index, len(observations.view_names))
        camera = session.rig[name]
        source = frame_source(views[name])
        positions = None
        if source is None:
            source = blank_source(camera.size or USUAL_SIZE, len(observations), observations.fps)
        else:
            place = {int(number): at for at, number in enumerate(source.frame_numbers)}
            positions = np.array([place.get(int(number), -1) for number in source_numbers[:, index]], dtype=np.int64)
        person = OverlayBody(
            faces=body.faces,
            vertices_of=surface,
            status=report.status,
            keypoints=observations.pixels[:, index, 0].astype(np.float64),
            confidence=observations.confidence[:, index, 0].astype(np.float64),
        )
        mine = [item for item in wanted if item.view == name]
        shots = render_overlay(
            source,
            camera,
            [person],
            out / "overlay" / f"{name}.mp4",
            positions=positions,
            frame_numbers=observations.frame_numbers,
            fps=observations.fps,
            snapshots=[item.index for item in mine],
        )
        pictures |= {item.picture_key: shots[item.index] for item in mine if item.index in shots}
    progress("overlay", len(observations.view_names), len(observations.view_names))
    return pictures
