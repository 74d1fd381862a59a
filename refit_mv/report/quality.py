"""What the quality report is made from: plain arrays, so that any optimizer can fill them in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from refit_mv.body.model import posed_joints
from refit_mv.body.sides import LIMBS
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.finding import Finding
from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import in_pictures, project
from refit_mv.people.hard_moments import HardMoment
from refit_mv.people.stature import stature
from refit_mv.report.soles import Soles
from refit_mv.session.observations import CONFIDENT
from refit_mv.status import BEST_FIRST, FrameStatus
from refit_mv.take.fitted_person import FittedPerson
from refit_mv.take.take import Take


@dataclass(frozen=True, eq=False)
class QualityReport:
    """One fitted person as numbers. ``person`` is their id, ``name`` what somebody calls them; ``edits`` are what was
    corrected by hand in the take. ``hard`` tells when it was hard to say who they are.

    ``pixel_error`` is the distance between a detected keypoint and the projected landmark, NaN where there is no
    evidence or no fit; ``confidence`` the detector's. ``joints_m`` are world positions in metres (NaN rows where
    absent), ``joint_sigma_m`` the 1-sigma uncertainty of each joint, ``joint_seen`` whether keypoints pin it down or it
    is inferred from others. ``left_out_px`` maps a view to the median pixel error of what the *other* cameras predict
    for it. ``swapped`` tells which views had arms or legs (``body.sides.LIMBS``) on the wrong sides before the fit
    exchanged them. ``known_height_m`` is the height that was given. ``up`` is the world's up direction. ``findings``
    are what earlier steps found out, beside what the figures here say. ``pixels`` are the keypoints and ``residual``
    where they lie from the body's projected landmarks. ``soles`` are the points that stand, ``floor_height_m`` is the
    floor's height along ``up``. ``run`` tells settings of the fit in words.
    Optional parts that are None are left out of the page.

    Raises:
        ValueError: arrays that do not fit together.
    """

    title: str
    frame_numbers: Int[np.ndarray, " frame"]
    fps: float | int
    view_names: tuple[str, ...]
    status: tuple[str, ...]
    landmark_names: tuple[str, ...]
    pixel_error: Float[np.ndarray, "frame view landmark"]
    confidence: Float[np.ndarray, "frame view landmark"]
    rig: CameraRig
    optimizer: str
    body: str
    versions: Mapping[str, str]
    seconds: float | int
    person: int = 0
    name: str | None = None
    edits: tuple[str, ...] = ()
    joint_names: tuple[str, ...] = ()
    joints_m: Float[np.ndarray, "frame joint 3"] | None = None
    joint_sigma_m: Float[np.ndarray, "frame joint"] | None = None
    joint_seen: Bool[np.ndarray, "frame joint"] | None = None
    left_out_px: Mapping[str, float] | None = None
    person_height_m: float | int | None = None
    known_height_m: float | None = None
    up: tuple[float, float, float] | None = None
    swapped: Bool[np.ndarray, "frame view limb"] | None = None
    warnings: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    hard: tuple[HardMoment, ...] = ()
    pixels: Float[np.ndarray, "frame view landmark 2"] | None = None
    residual: Float[np.ndarray, "frame view landmark 2"] | None = None
    soles: Soles | None = None
    floor_height_m: float | None = None
    run: Mapping[str, str] = field(default_factory=dict)
    _confident: Bool[np.ndarray, "frame view landmark"] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        frames, views, landmarks = len(self.frame_numbers), len(self.view_names), len(self.landmark_names)
        expected = {
            "pixel_error": (self.pixel_error, (frames, views, landmarks)),
            "confidence": (self.confidence, (frames, views, landmarks)),
            "joints_m": (self.joints_m, (frames, len(self.joint_names), 3)),
            "swapped": (self.swapped, (frames, views, len(LIMBS))),
            "joint_seen": (self.joint_seen, (frames, len(self.joint_names))),
            "joint_sigma_m": (self.joint_sigma_m, (frames, len(self.joint_names))),
            "pixels": (self.pixels, (frames, views, landmarks, 2)),
            "residual": (self.residual, (frames, views, landmarks, 2)),
        }
        for name, (array, shape) in expected.items():
            if array is not None and array.shape != shape:
                raise ValueError(f"quality report: {name} has shape {array.shape}, expected {shape}")
        if len(self.status) != frames:
            raise ValueError(f"quality report: {len(self.status)} statuses for {frames} frames")
        unknown = sorted(set(self.status) - set(BEST_FIRST))
        if unknown:
            raise ValueError(f"quality report: unknown status {unknown}, expected one of {', '.join(BEST_FIRST)}")
        missing = [name for name in self.view_names if name not in self.rig.names]
        if missing or not frames or not views:
            raise ValueError(
                f"quality report: needs frames and views of the rig; {frames} frames, views without camera: {missing}"
            )
        with np.errstate(invalid="ignore"):
            confident = np.isfinite(self.pixel_error) & (self.confidence > CONFIDENT) & self.posed[:, None, None]
        object.__setattr__(self, "_confident", confident)

    @cached_property
    def in_picture(self) -> Bool[np.ndarray, "frame view"]:
        """Where most of the body lies within the view's picture; everywhere, where nothing is known of body or
        picture.
        """
        if self.joints_m is None:
            return np.ones((len(self.frame_numbers), len(self.view_names)), dtype=bool)
        rig = self.rig.subset(self.view_names)
        _, _, inside = in_pictures(rig, torch.from_numpy(np.nan_to_num(self.joints_m)))
        return inside.numpy().mean(-1) > 0.5

    @staticmethod
    def of(take: Take, person: FittedPerson) -> "QualityReport":
        """What a take says of one of its people."""
        params, status = person.params(), person.status
        absent = np.array([word is FrameStatus.ABSENT for word in status])
        joints = posed_joints(take.body, params).positions.numpy()
        sigma = person.joint_sigma()
        joints[absent], sigma[absent] = np.nan, np.nan
        pixels = person.read("pixels").astype(np.float64)
        skin = landmark_skin(take.body, person.landmark_names).displaced(person.subject.landmark_offset)
        projected, _ = project(take.rig.stacked(), pose_landmarks(skin, params).positions)
        residual = np.where((person.read("confidence") > 0)[..., None], pixels - projected.numpy(), np.nan)
        residual[absent] = np.nan
        up = take.session.up if take.floor is None else take.floor.normal
        return QualityReport(
            title=take.title,
            frame_numbers=take.frame_numbers,
            fps=take.fps,
            view_names=take.rig.names,
            status=status,
            landmark_names=person.landmark_names,
            pixel_error=person.pixel_error(),
            confidence=person.read("confidence").astype(np.float64),
            rig=take.rig,
            optimizer=take.optimizer,
            body=take.body.name,
            versions=take.versions,
            seconds=take.seconds,
            person=person.id,
            name=person.name,
            edits=(*take.edits, *take.corrections),
            joint_names=take.body.joint_names,
            joints_m=joints,
            joint_sigma_m=sigma,
            joint_seen=person.read("joint_seen").astype(bool),
            left_out_px=person.left_out_px,
            swapped=person.read("swapped").astype(bool),
            person_height_m=stature(take.body, params),
            known_height_m=person.known_height_m,
            up=up,
            warnings=take.warnings,
            findings=(*take.findings, *person.findings),
            hard=person.hard,
            pixels=pixels,
            residual=residual,
            soles=Soles.of(take.body, params, person.contacts),
            floor_height_m=None if take.floor is None else float(np.dot(take.floor.point, take.floor.normal)),
            run=_run(take),
        )

    def __len__(self) -> int:
        return len(self.frame_numbers)

    @property
    def confident(self) -> Bool[np.ndarray, "frame view landmark"]:
        """The keypoints that every figure counts: detected with more than :data:`CONFIDENT`, in a frame with a
        person.
        """
        return self._confident

    @property
    def whom(self) -> str:
        """What they are called in the report."""
        return f"Person {self.person}" if self.name is None else f"{self.name} (person {self.person})"

    @property
    def posed(self) -> Bool[np.ndarray, " frame"]:
        """Frames with a body."""
        return np.array([status != FrameStatus.ABSENT for status in self.status])


def _run(take: Take) -> dict[str, str]:
    """What was fitted how: what a person chooses, as far as the take remembers it."""
    chosen = {
        "keypoints": take.keypoint_set,
        "layout": take.session.layout,
        "calibration": take.session.calibration.name,
    }
    settings = {key.replace("_", " "): value for key, value in take.recipe.items() if not isinstance(value, Mapping)}
    words = {key: "yes" if value is True else "no" if value is False else str(value) for key, value in settings.items()}
    return {**chosen, **words}
