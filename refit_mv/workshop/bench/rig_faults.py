"""What the doctor of rigs says of calibrations, clocks and views with a planted fault, and of sound ones."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from refit_mv.body.model import BodyModel
from refit_mv.body.open_body import open_body
from refit_mv.body.priors import load_pose_prior
from refit_mv.checks.mirrors import mirrored
from refit_mv.checks.sides import with_other_sides
from refit_mv.finding import Finding
from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.geometry.transforms import RigidTransform
from refit_mv.people.evidence import Evidence, evidence_on
from refit_mv.progress import Progress, quiet
from refit_mv.rigs.doctor import diagnose
from refit_mv.workshop.bench.faults import NOISE, VIEW, turned_half_way, zoomed
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.rigs import look_at, random_rig
from refit_mv.workshop.synthetic.session import synthesise

# Somebody walks about for so long, seen by cameras that frame a sphere of this radius (metres).
SECONDS, FPS, CAPTURE_RADIUS = 20, 30.0, 1.6
# Sessions begin and end so many frames outside of what is looked at, so that late views have something to show.
MARGIN = 12
# Where cameras stand: metres from the middle in a hall, and in a room in which lenses have to be wide.
HALL, ROOM = (3.0, 5.5), (2.0, 3.2)
Given = tuple[CameraRig, Evidence]


def _as_it_is(rig: CameraRig) -> CameraRig:
    return rig


def _inner(evidence: Evidence) -> Evidence:
    """What is looked at, to be spoiled at will."""
    inner = evidence.frames(slice(MARGIN, len(evidence) - MARGIN))
    return Evidence(inner.landmark_names, inner.pixels.clone(), inner.confidence.clone())


@dataclass(frozen=True)
class RigFault:
    """Something wrong, the finding that should name it (None: nothing is wrong), of which views (none: of all), and how
    it is planted: ``filmed`` turns the rig into the one that films, ``given`` what is handed out of rig and evidence.
    """

    name: str
    key: str | None
    given: Callable[[CameraRig, Evidence], Given]
    views: tuple[int, ...] = ()
    filmed: Callable[[CameraRig], CameraRig] = _as_it_is
    distance: tuple[float, float] = HALL


def changed(change: Callable[[Camera], Camera], views: Sequence[int] | None = None) -> Callable[[CameraRig], CameraRig]:
    """Some cameras of a rig changed, or all."""
    return lambda rig: CameraRig(
        tuple(change(camera) if views is None or view in views else camera for view, camera in enumerate(rig))
    )


def written(change: Callable[[Camera], Camera], views: Sequence[int] | None = None) -> Callable[..., Given]:
    """A calibration file in which cameras were changed."""
    return lambda rig, evidence: (changed(change, views)(rig), _inner(evidence))


def inverted(camera: Camera) -> Camera:
    """World from camera where camera from world is expected."""
    return replace(camera, cam_from_world=camera.cam_from_world.inverse())


def looking_back(camera: Camera) -> Camera:
    """Axes of graphics libraries: y up, and z backwards."""
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
    pose = camera.cam_from_world
    return replace(camera, cam_from_world=RigidTransform(flip @ pose.rotation, flip @ pose.translation))


def with_lens(coefficients: Sequence[float], fisheye: bool = False) -> Callable[[Camera], Camera]:
    """A camera of another lens."""
    lens = "fisheye" if fisheye else "brown_conrady"
    return lambda camera: replace(camera, distortion=np.array(coefficients), lens=lens)


def renamed(order: Sequence[int]) -> Callable[[CameraRig, Evidence], Given]:
    """Every view gets the camera of another one's name; views beyond the order stay."""

    def plant(rig: CameraRig, evidence: Evidence) -> Given:
        # Of two cameras there is one other order.
        places = [1, 0] if len(rig) == 2 else [*order, *range(len(order), len(rig))]
        cameras = tuple(replace(rig.cameras[place], name=name) for name, place in zip(rig.names, places, strict=True))
        return CameraRig(cameras), _inner(evidence)

    return plant


def resized(factor: float, views: Sequence[int] | None = None) -> Callable[[CameraRig, Evidence], Given]:
    """Keypoints of pictures that were made smaller."""

    def plant(rig: CameraRig, evidence: Evidence) -> Given:
        inner = _inner(evidence)
        chosen = list(range(len(rig)) if views is None else views)
        inner.pixels[:, chosen] = (inner.pixels[:, chosen] + 0.5) * factor - 0.5
        return rig, inner

    return plant


def quarter_turned(rig: CameraRig, evidence: Evidence) -> Given:
    """One view's keypoints are of pictures shown turned clockwise."""
    inner = _inner(evidence)
    size = rig.cameras[VIEW].size
    assert size is not None
    x, y = inner.pixels[:, VIEW].unbind(-1)
    inner.pixels[:, VIEW] = torch.stack([size[1] - 1 - y, x], -1)
    return rig, inner


def flipped(views: Sequence[int] | None = None) -> Callable[[CameraRig, Evidence], Given]:
    """Videos shown mirrored to a detector, which takes left for right then."""

    def plant(rig: CameraRig, evidence: Evidence) -> Given:
        inner = _inner(evidence)
        other = mirrored(rig, with_other_sides(inner))
        chosen = list(range(len(rig)) if views is None else views)
        inner.pixels[:, chosen], inner.confidence[:, chosen] = other.pixels[:, chosen], other.confidence[:, chosen]
        return rig, inner

    return plant


def bumped(degrees: float, seed: int = 0) -> Callable[[CameraRig, Evidence], Given]:
    """One camera is turned half way, about a random axis across its view."""
    return lambda rig, evidence: (rig, turned_half_way(rig, _inner(evidence), degrees, seed))


def clocked(offset: float, drift: float = 0.0) -> Callable[[CameraRig, Evidence], Given]:
    """One view shows what was ``offset`` frames ago, and ``drift`` (share of the time) more with every frame."""

    def plant(rig: CameraRig, evidence: Evidence) -> Given:
        inner = _inner(evidence)
        rows = torch.arange(MARGIN, len(evidence) - MARGIN, dtype=torch.float64)
        source = (rows - offset - drift * (rows - rows.mean())).clamp(0, len(evidence) - 1.001)
        before, share = source.long(), (source - source.floor())[:, None]
        for row in (before, before + 1):
            inner.confidence[:, VIEW] = torch.minimum(inner.confidence[:, VIEW], evidence.confidence[row, VIEW])
        inner.confidence[:, VIEW] = evidence.confidence[before, VIEW] * (evidence.confidence[before + 1, VIEW] > 0)
        inner.pixels[:, VIEW] = (
            evidence.pixels[before, VIEW] * (1 - share)[..., None]
            + evidence.pixels[before + 1, VIEW] * share[..., None]
        )
        return rig, inner

    return plant


def copied(rig: CameraRig, evidence: Evidence) -> Given:
    """One view's keypoints are another's."""
    inner = _inner(evidence)
    inner.pixels[:, VIEW], inner.confidence[:, VIEW] = inner.pixels[:, 0], inner.confidence[:, 0]
    return rig, inner


def side_by_side(rig: CameraRig) -> CameraRig:
    """All cameras within a hand's breadth, looking the same way."""
    first = rig.cameras[0]
    target = np.array([0.0, 0.95, 0.0])
    cameras = []
    for view, camera in enumerate(rig):
        center = first.center.numpy() + 0.06 * view * np.array([1.0, 0.3, 0.0])
        cameras.append(replace(camera, cam_from_world=look_at(center, target)))
    return CameraRig(tuple(cameras))


WIDE = (-0.30, 0.12, 0.0, 0.0, -0.02)
# A lens whose last coefficient matters, and one of a sports camera.
LAST_COUNTS = (0.08, -0.2, 0.0, 0.0, 0.15)
FISHEYE = (0.03, -0.01, 0.005, -0.001)
NO_LENS = (0.0, 0.0, 0.0, 0.0, 0.0)

RIG_FAULTS = (
    RigFault("none", None, lambda rig, seen: (rig, _inner(seen))),
    RigFault(
        "none, wide lenses", None, lambda rig, seen: (rig, _inner(seen)), (), changed(with_lens(LAST_COUNTS)), ROOM
    ),
    RigFault("millimetres read as metres", "units", lambda rig, seen: (rig.scaled(1000.0), _inner(seen))),
    RigFault("feet read as metres", "units", lambda rig, seen: (rig.scaled(1 / 0.3048), _inner(seen))),
    RigFault("all extrinsics inverse", "inverse_extrinsics", written(inverted)),
    RigFault("one camera's extrinsics inverse", "inverse_extrinsics", written(inverted, [VIEW]), (VIEW,)),
    RigFault("axes of graphics (points behind)", "points_behind", written(looking_back, [VIEW]), (VIEW,)),
    RigFault("two cameras exchanged", "exchanged_cameras", renamed([1, 0]), (0, 1)),
    RigFault("cameras renamed in a circle", "exchanged_cameras", renamed([1, 2, 0]), (0, 1, 2)),
    RigFault("one video mirrored", "mirrored_videos", flipped([VIEW]), (VIEW,)),
    RigFault("all videos mirrored", "mirrored_videos", flipped()),
    RigFault("pictures × 0.5", "picture_size", resized(0.5)),
    RigFault("pictures × 0.67", "picture_size", resized(2 / 3)),
    RigFault("one view's pictures × 0.75", "picture_size", resized(0.75, [VIEW]), (VIEW,)),
    RigFault("one view turned by 90°", "picture_turned", quarter_turned, (VIEW,)),
    RigFault(
        "k3 dropped",
        "lens_k3",
        written(with_lens(LAST_COUNTS[:4])),
        (),
        changed(with_lens(LAST_COUNTS)),
        ROOM,
    ),
    RigFault(
        "distortion ignored", "lens_distortion", written(with_lens(NO_LENS), [VIEW]), (VIEW,),
        changed(with_lens(WIDE), [VIEW]),
        ROOM,
    ),
    RigFault(
        "fisheye read as pinhole", "lens_model", written(with_lens(FISHEYE), [VIEW]), (VIEW,),
        changed(with_lens(FISHEYE, True), [VIEW]),
        ROOM,
    ),
    RigFault("one focal length × 1.1", "focal_length", written(zoomed(1.1), [VIEW]), (VIEW,)),
    RigFault("all focal lengths × 1.3", "focal_length", written(zoomed(1.3))),
    RigFault("turned 2° half way", "camera_bumped", bumped(2.0), (VIEW,)),
    RigFault("4 frames late", "view_late", clocked(4.0), (VIEW,)),
    RigFault("clock slow by 0.5 %", "clock_drift", clocked(0.0, 0.005), (VIEW,)),
    RigFault("one view is a copy", "duplicate_views", copied, (0, VIEW)),
    RigFault("cameras side by side", "weak_geometry", lambda rig, seen: (rig, _inner(seen)), (), side_by_side),
)  # fmt: skip


def made_up_given(body: BodyModel, seed: int, views: int, fault: RigFault) -> Given:
    """Rig and evidence of somebody who walks about before a random rig, with the fault in it."""
    motion = sampled_motion(load_pose_prior(), seed, round(SECONDS * FPS) + 2 * MARGIN, FPS)
    rig = random_rig([seed, views], views, distance=fault.distance, capture_radius=CAPTURE_RADIUS, distortion=True)
    session = synthesise(body, "halpe26", motion, fault.filmed(rig), NOISE, seed)
    return fault.given(session.rig, evidence_on(body, session.observations.person(session.subject)))


@dataclass(frozen=True)
class RigRow:
    """What the doctor said of one fault: in how many ``sessions`` it was ``named`` with the right cameras, and in how
    many something ``other`` was said. ``seconds``: the usual time of one.
    """

    fault: str
    views: int
    sessions: int
    named: int
    other: int
    seconds: float


def named_and_other(findings: Sequence[Finding], fault: RigFault, names: Sequence[str]) -> tuple[bool, bool]:
    """Whether a fault is named with its cameras, and whether anything else is. Of two views which stand against each
    other both may be named.
    """
    said = [finding for finding in findings if finding.level != "good"]
    whose = {tuple(names[view] for view in fault.views if view < len(names))}
    if len(names) == 2:
        whose |= {tuple(names), ()} if fault.views else {tuple(names)}
    if len(next(iter(whose))) == len(names):
        whose.add(())
    right = [finding for finding in said if finding.key == fault.key and finding.views in whose]
    return bool(right), len(right) < len(said)


def measure_rig_faults(
    views: Sequence[int],
    sessions: int,
    seed: int,
    sound: int,
    faults: Sequence[RigFault] = RIG_FAULTS,
    progress: Progress = quiet,
) -> list[RigRow]:
    """For every fault and number of views: what the doctor says of so many sessions, and of ``sound`` ones."""
    body, rows = open_body(), []
    for count in views:
        for fault in faults:
            said, seconds = [], []
            total = sound if fault.key is None else sessions
            for each in range(total):
                rig, evidence = made_up_given(body, seed + each, count, fault)
                began = time.perf_counter()
                found = diagnose(body, rig, evidence, np.arange(len(evidence)), FPS).findings
                seconds.append(time.perf_counter() - began)
                said.append(named_and_other(found, fault, rig.names))
                progress(f"{fault.name}, {count} views", each + 1, total)
            named, other = (sum(column) for column in zip(*said, strict=True))
            rows.append(RigRow(fault.name, count, total, named, other, float(np.median(seconds))))
    return rows


def rig_faults_table(rows: Sequence[RigRow]) -> str:
    """The rows as lines of a Markdown table, and all of them together."""
    lines = ["| planted | views | named with its cameras | something else said | seconds |", "|---|---|---|---|---|"]
    sound = {fault.name for fault in RIG_FAULTS if fault.key is None}
    for row in rows:
        named = "" if row.fault in sound else f"{row.named} of {row.sessions}"
        lines.append(f"| {row.fault} | {row.views} | {named} | {row.other} of {row.sessions} | {row.seconds:.1f} |")
    for views in dict.fromkeys(row.views for row in rows):
        planted = [row for row in rows if row.views == views and row.fault not in sound]
        healthy = [row for row in rows if row.views == views and row.fault in sound]
        named, total = sum(row.named for row in planted), sum(row.sessions for row in planted)
        lines.append("")
        lines.append(
            f"{views} views: {named} of {total} planted faults named ({named / max(total, 1):.1%}), something else "
            f"said in {sum(row.other for row in planted)}; {sum(row.other for row in healthy)} false alarms in "
            f"{sum(row.sessions for row in healthy)} sound sessions"
        )
    return "\n".join(lines)
