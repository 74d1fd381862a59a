"""Fit results as rows of the store: which quantities ``fit.h5`` holds and what they mean."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.body.sides import LIMBS
from refit_mv.people.subject import Subject
from refit_mv.solve.result import FitResult
from refit_mv.status import PRESENCE_CODES, STATUS_CODES, FrameStatus
from refit_mv.take.store import Field, ResultStore


def fields(joints: int, views: int, landmarks: int) -> dict[str, Field]:
    """The per-frame quantities of one person's fit."""
    codes = ", ".join(f"{code} {status}" for code, status in enumerate(STATUS_CODES))
    return {
        "pelvis": Field((3,), "float64", "world position of the pelvis joint, metres"),
        "rotations": Field((joints, 3, 3), "float64", "parent_from_joint rotations, the root's world_from_root"),
        "status": Field((), "uint8", codes),
        "cost": Field((), "float64", "final cost (twice the negative log-posterior)"),
        "explained": Field((), "float32", "share of the evidence that the body explains, 0 to 1"),
        "joint_covariance": Field((joints, 3, 3), "float32", "covariance of the joints' world positions, m²"),
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


def row_block(
    result: FitResult,
    pixels: Tensor,
    confidence: Tensor,
    pixel_error: Tensor,
    detection: np.ndarray,
    frame_numbers: np.ndarray,
) -> dict[str, np.ndarray]:
    """One chunk's arrays, as :func:`fields` declares them."""

    def array(tensor: Tensor, dtype: str) -> np.ndarray:
        return tensor.detach().cpu().numpy().astype(dtype)

    alone = result.params if result.per_frame is None else result.per_frame
    swapped = np.zeros((*confidence.shape[:2], len(LIMBS)), dtype="uint8")
    return {
        "pelvis": array(result.params.pelvis, "float64"),
        "rotations": array(result.params.rotations, "float64"),
        "status": np.array([STATUS_CODES.index(status) for status in result.status], dtype="uint8"),
        "cost": array(result.cost, "float64"),
        "explained": array(result.explained, "float32"),
        "joint_covariance": array(result.joint_covariance, "float32"),
        "pixels": array(pixels, "float32"),
        "confidence": array(confidence, "float32"),
        "pixel_error": array(pixel_error, "float32"),
        "per_frame_pelvis": array(alone.pelvis, "float64"),
        "per_frame_rotations": array(alone.rotations, "float64"),
        "presence": np.array([PRESENCE_CODES.index(status.presence) for status in result.status], dtype="uint8"),
        "swapped": swapped if result.swapped is None else array(result.swapped, "uint8"),
        "detection": detection.astype("int16"),
        "frame_number": frame_numbers.astype("int64"),
    }


def read_params(store: ResultStore, rows: slice = slice(None)) -> BodyParams:
    """The stored motion, shape included."""
    pelvis = torch.from_numpy(store.read("pelvis", rows))
    shape = torch.from_numpy(np.asarray(store.read_static("shape"), dtype=np.float64))
    return BodyParams(pelvis, torch.from_numpy(store.read("rotations", rows)), shape.expand(len(pelvis), -1))


def read_subject(store: ResultStore) -> Subject:
    """The subject that a store was made for."""

    def tensor(name: str) -> Tensor:
        return torch.from_numpy(np.asarray(store.read_static(name), dtype=np.float64))

    return Subject(tensor("shape"), tensor("landmark_offset"))


def read_status(store: ResultStore) -> tuple[FrameStatus, ...]:
    """The status of every frame."""
    return tuple(STATUS_CODES[code] for code in store.read("status"))


def describe(values: Mapping[str, object]) -> dict[str, np.ndarray | str | int | float | bool]:
    """Static values in the types that the store takes."""
    out: dict[str, np.ndarray | str | int | float | bool] = {}
    for name, value in values.items():
        if isinstance(value, Tensor):
            out[name] = value.detach().cpu().numpy()
        elif isinstance(value, (np.ndarray, str, int, float, bool)):
            out[name] = value
        else:
            raise TypeError(f"static value '{name}' of type {type(value).__name__}")
    return out
