"""What BlazePose's depths are worth: ``python -m refit_mv.workshop.training.detector_depths --motion DIR``.

Beside points and maps the network says how far each point lies behind the middle of the hips. Rendered people are
looked at in crops around where they are, as a second look does, and the claims are compared with the truth.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from refit_mv.body.files import load_body
from refit_mv.body.model import BodyModel
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.detect.detector import MapDetector, detector
from refit_mv.errors import InputError
from refit_mv.people.asking import crop_around
from refit_mv.workshop.saying import say
from refit_mv.workshop.training.detector import DetectorRecipe, bank_of
from refit_mv.workshop.training.detector_pictures import PictureOptions, Sightings, draw_sightings

# So many kinds of error that points share are spoken of.
SHARED = 4


@dataclass(frozen=True, eq=False)
class DepthClaims:
    """How far points are claimed to lie behind the middle of the hips and how far they do, metres along the line of
    sight through the crop's middle; ``down``: how far below it they are in the crop's upright picture.
    """

    landmark_names: tuple[str, ...]
    claim: Float[np.ndarray, "person landmark"]
    truth: Float[np.ndarray, "person landmark"]
    down: Float[np.ndarray, "person landmark"]


@dataclass(frozen=True, eq=False)
class DepthErrors:
    """Of claims, in metres and by landmark: how far truth varies, the claims' mean error and its standard deviation.
    Of all landmarks of a person together, from their common mean: ``truth_rms``, ``rms`` of errors without the mean
    ones, ``tilted_rms`` without each person's own tilt either, the tilt's standard deviation (``tilt``, radians), and
    the shares of the errors' variance that the largest kinds of shared error have (``shared``).
    """

    truth: Float[np.ndarray, " landmark"]
    bias: Float[np.ndarray, " landmark"]
    sigma: Float[np.ndarray, " landmark"]
    truth_rms: float
    rms: float
    tilted_rms: float
    tilt: float
    shared: Float[np.ndarray, " kind"]


def read_depths(body: BodyModel, seen: Sightings, chosen: MapDetector) -> DepthClaims:
    """Of everybody who was found, in every picture by itself.

    Raises:
        InputError: a detector that claims no depths.
    """
    every = seen.keypoints.keypoint_names
    joints = [place for place, name in enumerate(every) if name in body.landmark_names]
    names = tuple(every[place] for place in joints)
    hips = [names.index("left_hip"), names.index("right_hip")]
    places = pose_landmarks(landmark_skin(body, names), seen.shown()).positions.numpy()
    claims, truth, down = [], [], []
    for picture in np.flatnonzero(seen.found):
        matrix = seen.matrix[picture]
        here = places[picture] @ seen.rotation[picture].T + seen.translation[picture]
        flat = here @ matrix.T
        crop = crop_around(flat[:, :2] / flat[:, 2:], np.ones(len(names), dtype=bool), names)
        depth = chosen.detect_maps(seen.pictures[picture], [crop]).depth
        if depth is None:
            raise InputError(f"{chosen.name} claims no depths; choose another --detector")
        sight = np.linalg.solve(matrix, np.array([crop.x, crop.y, 1.0]))
        deep = here @ (sight / np.linalg.norm(sight))
        claims.append(depth[0, joints])
        truth.append(deep - deep[hips].mean())
        down.append(here[:, 1] - here[hips, 1].mean())
    return DepthClaims(names, np.array(claims), np.array(truth), np.array(down))


def depth_errors(claims: DepthClaims) -> DepthErrors:
    """How far claims are off, and what points have in common there."""
    off = claims.claim - claims.truth
    bias = off.mean(0)

    def centred(values: np.ndarray) -> np.ndarray:
        return values - values.mean(1, keepdims=True)

    error, down = centred(off - bias), centred(claims.down)
    tilt = (error * down).sum(1) / (down**2).sum(1)
    kinds = np.linalg.eigvalsh(error.T @ error)[::-1]
    return DepthErrors(
        truth=claims.truth.std(0),
        bias=bias,
        sigma=off.std(0),
        truth_rms=_rms(centred(claims.truth)),
        rms=_rms(error),
        tilted_rms=_rms(error - tilt[:, None] * down),
        tilt=float(tilt.std()),
        shared=kinds[:SHARED] / kinds.sum(),
    )


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt((values**2).mean()))


def _spoken(names: Sequence[str], errors: DepthErrors) -> Iterator[str]:
    for place, name in enumerate(names):
        truth, bias, sigma = (1000 * float(each[place]) for each in (errors.truth, errors.bias, errors.sigma))
        yield f"{name:16s} varies by {truth:3.0f} mm, claims are off by {bias:+4.0f} ± {sigma:3.0f} mm"
    together = [1000 * each for each in (errors.truth_rms, errors.rms, errors.tilted_rms)]
    varies, off, tilted = together
    yield f"from the mean of all points: truth varies by {varies:.0f} mm, claims are off by {off:.0f} mm"
    yield f"every person's own tilt ({np.degrees(errors.tilt):.1f} degrees) taken out: {tilted:.0f} mm"
    yield f"of the errors' variance {SHARED} kinds of shared error are {errors.shared.sum():.0%}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m refit_mv.workshop.training.detector_depths", description="What claimed depths are worth."
    )
    parser.add_argument("--detector", default="blazepose")
    parser.add_argument("--motion", type=Path, required=True, help="folder of motions that rendered people make")
    parser.add_argument("--people", type=int, default=300)
    parser.add_argument("--seed", type=int, default=506)
    return say(_lines(parser.parse_args(arguments)))


def _lines(asked: argparse.Namespace) -> Iterator[str]:
    chosen, body = detector(asked.detector), load_body("open")
    if not isinstance(chosen, MapDetector):
        raise InputError(f"{chosen.name} claims no depths; choose another --detector")
    bank = bank_of([asked.motion], DetectorRecipe().excluded_subjects)
    options = PictureOptions(people=asked.people, kept=True)
    claims = read_depths(body, draw_sightings(chosen, body, bank, options, asked.seed), chosen)
    yield f"{chosen.name}: {len(claims.claim)} people"
    yield from _spoken(claims.landmark_names, depth_errors(claims))


if __name__ == "__main__":
    sys.exit(main())
