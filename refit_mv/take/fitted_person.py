"""One person's results on disk: which quantities ``people/<id>/fit.h5`` holds and what they mean."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.sides import LIMBS
from refit_mv.errors import InputError
from refit_mv.finding import Finding
from refit_mv.people.evidence import Evidence
from refit_mv.people.hard_moments import HardMoment
from refit_mv.people.person import Person
from refit_mv.people.subject import Subject
from refit_mv.session.detector_profile import Habits
from refit_mv.solve.feet import Contacts
from refit_mv.solve.result import FitResult
from refit_mv.status import PRESENCE_CODES, STATUS_CODES, FrameStatus
from refit_mv.take.edited_frames import EditedFrames
from refit_mv.take.moved_frames import MovedFrames
from refit_mv.take.standing_frames import StandingFrames
from refit_mv.take.store import Field, ResultStore

STORE = "fit.h5"
# What a store calls a detector's habits, if it knows them.
_HABIT = "habit_"
# Frames whose poses are looked at together, to bound memory.
_BATCH = 4096


def _fields(joints: int, views: int, landmarks: int) -> dict[str, Field]:
    """The per-frame quantities of one person's fit."""
    codes = ", ".join(f"{code} {status}" for code, status in enumerate(STATUS_CODES))
    return {
        "pelvis": Field((3,), "float64", "world position of the pelvis joint, metres"),
        "rotations": Field((joints, 3, 3), "float64", "parent_from_joint rotations, the root's world_from_root"),
        "status": Field((), "uint8", codes),
        "cost": Field((), "float64", "final cost (twice the negative log-posterior)"),
        "explained": Field((), "float32", "share of the evidence that the body explains, 0 to 1"),
        "joint_covariance": Field((joints, 3, 3), "float32", "covariance of the joints' world positions, m²"),
        "joint_seen": Field(
            (joints,), "uint8", "1 where keypoints pin the joint down, 0 where it is inferred from others"
        ),
        "pixels": Field((views, landmarks, 2), "float32", "the keypoints that were fitted, pixels"),
        "confidence": Field((views, landmarks), "float32", "their confidence, 0 where missing"),
        "pixel_error": Field(
            (views, landmarks), "float32", "distance of the projected landmark, pixels; NaN without evidence"
        ),
        "per_frame_pelvis": Field((3,), "float64", "pelvis of the frame fitted alone, before time terms, metres"),
        "per_frame_rotations": Field(
            (joints, 3, 3), "float64", "rotations of the frame fitted alone, before time terms"
        ),
        "presence": Field((), "uint8", ", ".join(f"{code} {word}" for code, word in enumerate(PRESENCE_CODES))),
        "swapped": Field(
            (views, len(LIMBS)), "uint8", f"1 where {' or '.join(LIMBS)} were on the wrong sides and were exchanged"
        ),
        "detection": Field((views,), "int16", "which detection of the view was taken, -1 none"),
        "frame_number": Field((), "int64", "the recording's number of the frame"),
    }


def per_axis(covariance: Float[np.ndarray, "*batch 3 3"]) -> Float[np.ndarray, "*batch"]:
    """The standard deviation per axis of positions of such covariances, root mean square over the axes."""
    variance = np.trace(covariance.astype(np.float64), axis1=-2, axis2=-1) / 3
    return np.sqrt(np.maximum(variance, 0))


@dataclass(frozen=True, eq=False)
class FittedPerson:
    """A store and what its quantities mean. ``left_out_px``: of each view the median error of what the others predict
    for it, None where too few views are left for that. ``findings``: what else is known of how far to trust them.
    ``known_height_m``: how tall the person is, where that was given. ``name``: what somebody calls them. ``hard``: when
    it was hard to tell who they are, and why. ``standing``: which points of their feet stand, and the frames in which
    these were held, which come in place of the store's; None where nobody looked. ``moved``: the frames in which they
    gave way to somebody else, which come in place of both; ``edited``: those that were solved anew after corrections,
    in place of all.
    """

    id: int
    store: ResultStore
    name: str | None = None
    left_out_px: Mapping[str, float] | None = None
    findings: tuple[Finding, ...] = ()
    known_height_m: float | None = None
    hard: tuple[HardMoment, ...] = ()
    standing: StandingFrames | None = None
    moved: MovedFrames | None = None
    edited: EditedFrames | None = None

    def __len__(self) -> int:
        return self.store.frame_count

    @staticmethod
    def place(take: Path, id: int) -> Path:
        """Where a take keeps a person's results."""
        return take / "people" / str(id) / STORE

    @staticmethod
    def create(
        take: Path,
        person: Person,
        subject: Subject,
        body: BodyModel,
        chunk_frames: int,
        fingerprint: str,
        recorded: str = "",
    ) -> "FittedPerson":
        """Room for the results of a person who has just been met; replaces earlier ones. ``recorded`` is the
        fingerprint with all that was seen of anybody in place of what was seen of the person.

        Raises:
            InputError: the file cannot be written (no space, no permission).
        """
        views, landmarks = person.observations.view_names, person.evidence.landmark_names
        static = {
            "shape": subject.shape.numpy(),
            "landmark_offset": subject.landmark_offset.numpy(),
            "landmark_names": "\n".join(landmarks),
            "joint_names": "\n".join(body.joint_names),
            "view_names": "\n".join(views),
            "recorded": recorded,
        }
        if person.evidence.habits is not None:
            static |= {
                _HABIT + each.name: getattr(person.evidence.habits, each.name).numpy() for each in fields(Habits)
            }
        layout = _fields(body.joint_count, len(views), len(landmarks))
        path = FittedPerson.place(take, person.id)
        return FittedPerson(
            person.id,
            ResultStore.create(path, len(person.evidence), layout, static, chunk_frames, fingerprint),
        )

    @staticmethod
    def open(take: Path, id: int, fingerprint: str | None = None) -> "FittedPerson":
        """What :meth:`create` made, finished or not.

        Raises:
            InputError: nothing there, damaged, or (with ``fingerprint`` given) made from other inputs.
        """
        found = FittedPerson(id, ResultStore.open(FittedPerson.place(take, id), fingerprint))
        found._check()
        return found

    def _check(self) -> None:
        """Refuse a store of another layout: a damaged one, or somebody else's."""
        try:
            views, joints, landmarks = (
                len(self._names(axis)) for axis in ("view_names", "joint_names", "landmark_names")
            )
            expected = _fields(joints, views, landmarks)
            stored = self.store.fields
            wrong = [
                name
                for name, each in expected.items()
                if name not in stored or (stored[name].shape, stored[name].dtype) != (each.shape, each.dtype)
            ]
            status = self.store.read("status") if "status" not in wrong else np.zeros(1)
            wrong += ["status"] if status.size and status.max() >= len(STATUS_CODES) else []
            offset = self.subject.landmark_offset
            wrong += ["landmark_offset"] if offset.shape != (landmarks, 3) or not offset.isfinite().all() else []
            wrong += [] if self._habits_fit(landmarks) else ["habits"]
            wrong += ["shape"] if self.subject.shape.ndim != 1 or not self.subject.shape.isfinite().all() else []
        except (KeyError, ValueError, TypeError) as error:
            if isinstance(error, InputError):
                raise
            wrong = [str(error)]
        if wrong:
            raise InputError(
                f"{self.store.path} is a damaged result file ({', '.join(wrong):.120}); delete it and fit again"
            )

    @cached_property
    def subject(self) -> Subject:
        """Whom the results are of."""
        shape, offset = (
            torch.from_numpy(np.asarray(self.store.read_static(name), dtype=np.float64))
            for name in ("shape", "landmark_offset")
        )
        return Subject(shape, offset)

    @cached_property
    def habits(self) -> Habits | None:
        """The habits of the detector that the keypoints were read with; None where nothing was known of them."""
        names = [each.name for each in fields(Habits)]
        if _HABIT + names[0] not in self.store.static_names():
            return None
        values = (torch.from_numpy(np.asarray(self.store.read_static(_HABIT + name), np.float64)) for name in names)
        return Habits(*values)

    def _habits_fit(self, landmarks: int) -> bool:
        if self.habits is None:
            return True
        knots = len(self.habits.knots)
        shapes = {"offset": (landmarks, 3), "knots": (knots,), "sigma": (landmarks, knots)}
        values = {name: getattr(self.habits, name) for name in shapes}
        whole = all(values[name].shape == shape and values[name].isfinite().all() for name, shape in shapes.items())
        return whole and bool((values["sigma"] > 0).all())

    @property
    def recorded(self) -> str | None:
        """What :meth:`create` was told of the recording; None in older files."""
        return str(self.store.read_static("recorded")) if "recorded" in self.store.static_names() else None

    @property
    def found(self) -> bool:
        """Whether the person is in any frame."""
        return any(status is not FrameStatus.ABSENT for status in self.status)

    @property
    def finite(self) -> bool:
        """Whether there is a pose, of finite numbers, in every frame that the person is in."""
        present = np.array([status is not FrameStatus.ABSENT for status in self.status])
        for first in range(0, len(self), _BATCH):
            rows = slice(first, min(first + _BATCH, len(self)))
            params = self.params(rows)
            known = params.pelvis.isfinite().all(-1) & params.rotations.isfinite().flatten(1).all(-1)
            if (present[rows] & ~known.numpy()).any():
                return False
        return True

    @property
    def landmark_names(self) -> tuple[str, ...]:
        return self._names("landmark_names")

    @property
    def joint_names(self) -> tuple[str, ...]:
        return self._names("joint_names")

    @property
    def view_names(self) -> tuple[str, ...]:
        return self._names("view_names")

    def _names(self, axis: str) -> tuple[str, ...]:
        return tuple(str(self.store.read_static(axis)).split("\n"))

    def params(self, rows: slice = slice(None)) -> BodyParams:
        """The motion, shape included."""
        params, first = self.params_before_edits(rows), rows.indices(len(self))[0]
        return params if self.edited is None else self.edited.into_params(params, first)

    def params_before_edits(self, rows: slice = slice(None)) -> BodyParams:
        """The motion with feet that stand and people who gave way to one another, before anybody corrected it."""
        params = self.params_standing(rows)
        return params if self.moved is None else self.moved.into(params, rows.indices(len(self))[0])

    def params_standing(self, rows: slice = slice(None)) -> BodyParams:
        """The motion with feet held where they stand, before anybody gave way or corrected it."""
        params = self.params_as_fitted(rows)
        if self.standing is None:
            return params
        return self.standing.moved.into(params, rows.indices(len(self))[0])

    def params_as_fitted(self, rows: slice = slice(None)) -> BodyParams:
        """The motion that the fit found, before feet were held and anybody gave way or corrected it."""
        pelvis, rotations = (torch.from_numpy(self.store.read(name, rows)) for name in ("pelvis", "rotations"))
        return BodyParams(pelvis, rotations, self.subject.shape.expand(len(pelvis), -1))

    def read(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        """A field of the store for all frames or some, corrected frames in place of the store's."""
        values = self.store.read(name, rows)
        return values if self.edited is None else self.edited.into(name, values, rows.indices(len(self))[0])

    @property
    def _moved(self) -> tuple[MovedFrames, ...]:
        """What comes in place of the store's frames, the last word last."""
        standing = None if self.standing is None else self.standing.moved
        return tuple(each for each in (standing, self.moved) if each is not None)

    @property
    def contacts(self) -> Contacts | None:
        """Which points of their feet stand; None where nobody looked."""
        if self.standing is None:
            return None
        return self.standing.contacts if self.edited is None else self.edited.into_contacts(self.standing.contacts)

    def pixel_error(self) -> Float[np.ndarray, "frame view landmark"]:
        """Distance of every projected landmark from its keypoint, pixels; NaN without evidence."""
        error = self.store.read("pixel_error").astype(np.float64)
        for moved in self._moved:
            error[moved.frame] = moved.pixel_error
        return error if self.edited is None else self.edited.into("pixel_error", error)

    def evidence(self, rows: slice = slice(None)) -> Evidence:
        """The evidence as it was fitted."""
        return self._evidence(self.read, rows)

    def evidence_as_given(self, rows: slice = slice(None)) -> Evidence:
        """The evidence before anybody took sides for exchanged or corrected it."""
        swapped = torch.from_numpy(self.store.read("swapped", rows).astype(bool))
        return self._evidence(self.store.read, rows).with_sides_exchanged(swapped)

    def _evidence(self, read: Callable[[str, slice], np.ndarray], rows: slice) -> Evidence:
        points = (torch.from_numpy(read(name, rows).astype(np.float64)) for name in ("pixels", "confidence"))
        pixels, confidence = points
        return Evidence(self.landmark_names, pixels, confidence, self.habits)

    def with_moved(self, take: Path) -> "FittedPerson":
        """The results with the frames that lie beside them.

        Raises:
            InputError: there are none, damaged, or those of another fit.
        """
        return replace(self, moved=MovedFrames.read(MovedFrames.place(take, self.id), len(self), self._points))

    def with_standing(self, take: Path) -> "FittedPerson":
        """The results with the contacts that lie beside them.

        Raises:
            InputError: there are none, damaged, or those of another fit.
        """
        path = StandingFrames.place(take, self.id)
        return replace(self, standing=StandingFrames.read(path, len(self), self._points))

    @property
    def _points(self) -> tuple[int, int, int]:
        """How many joints, views and landmarks."""
        return len(self.joint_names), len(self.view_names), len(self.landmark_names)

    @property
    def status(self) -> tuple[FrameStatus, ...]:
        """The status of every frame."""
        return tuple(STATUS_CODES[code] for code in self.read("status"))

    def joint_sigma(self) -> Float[np.ndarray, "frame joint"]:
        """Standard deviation of every joint's position per axis (root mean square over the axes), metres."""
        return per_axis(self.read("joint_covariance"))

    def write_chunk(self, index: int, result: FitResult, seen: Evidence, pixel_error: Tensor, person: Person) -> None:
        """Store one chunk's results, durably. ``seen`` is the evidence as it was fitted, ``pixel_error`` the distances
        of its points from the body.

        Raises:
            InputError: the disk refuses.
        """

        rows = self.store.chunk_rows(index)
        numbers = person.observations.frame_numbers[rows]
        self.store.write_chunk(index, frame_arrays(result, seen, pixel_error, person.track.detection[rows], numbers))


def frame_arrays(
    result: FitResult,
    seen: Evidence,
    pixel_error: Tensor,
    detection: Int[np.ndarray, "frame view"],
    frame_numbers: Int[np.ndarray, " frame"],
) -> dict[str, np.ndarray]:
    """All that is stored of some frames, by the names of the store's fields."""

    def array(tensor: Tensor, dtype: str) -> np.ndarray:
        return tensor.detach().cpu().numpy().astype(dtype)

    alone = result.params if result.per_frame is None else result.per_frame
    swapped = np.zeros((*seen.confidence.shape[:2], len(LIMBS)), dtype="uint8")
    return {
        "pelvis": array(result.params.pelvis, "float64"),
        "rotations": array(result.params.rotations, "float64"),
        "status": np.array([STATUS_CODES.index(status) for status in result.status], dtype="uint8"),
        "cost": array(result.cost, "float64"),
        "explained": array(result.explained, "float32"),
        "joint_covariance": array(result.joint_covariance, "float32"),
        "joint_seen": array(result.joint_seen, "uint8"),
        "pixels": array(seen.pixels, "float32"),
        "confidence": array(seen.confidence, "float32"),
        "pixel_error": array(pixel_error, "float32"),
        "per_frame_pelvis": array(alone.pelvis, "float64"),
        "per_frame_rotations": array(alone.rotations, "float64"),
        "presence": np.array([PRESENCE_CODES.index(status.presence) for status in result.status], dtype="uint8"),
        "swapped": swapped if result.swapped is None else array(result.swapped, "uint8"),
        "detection": detection.astype("int16"),
        "frame_number": frame_numbers.astype("int64"),
    }
