"""What BlazePose's maps are worth where a body is expected: ``python -m refit_mv.workshop.training.detector_maps
--motion DIR`` prints the numbers that ``detect.heatmaps.claimed`` reads maps with.

Rendered people are fitted, looked at again where they are, and their maps read as a second look reads them. How far the
maps alone, the expectation taken out again, lie from the truth says what they should claim: so much that the detector's
profile, asked what such a claim means, tells their error best (Student's t in two dimensions, three degrees of freedom:
some points are far off).
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.files import load_body
from refit_mv.body.model import BodyModel
from refit_mv.body.skin import LandmarkSkin, pose_landmarks
from refit_mv.detect.detector import MapDetector, detector
from refit_mv.detect.heatmaps import claimed, evidence_of
from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import project
from refit_mv.optimizers.gauss_newton import GaussNewton
from refit_mv.people.asking import crop_around
from refit_mv.people.closer_look import READINGS
from refit_mv.people.evidence import Evidence, evidence_on
from refit_mv.people.map_windows import MapWindows
from refit_mv.profile_choice import shipped_profiles
from refit_mv.session.detector_profile import DetectorProfile, Habits, read_profile
from refit_mv.solve.initialise import initialise
from refit_mv.solve.problem import CostOptions
from refit_mv.workshop.saying import say
from refit_mv.workshop.training.detector import DetectorRecipe, bank_of
from refit_mv.workshop.training.detector_pictures import PictureOptions, Sightings, draw_sightings

# Degrees of freedom of the errors.
FREEDOM = 3.0


@dataclass(frozen=True, eq=False)
class MapReadings:
    """What claims rest on, as :func:`evidence_of` has it, and how far from the truth the maps alone put the points
    (metres).
    """

    landmark_names: tuple[str, ...]
    evidence: Float[Tensor, "view landmark fact"]
    miss: Float[Tensor, "view landmark"]


def read_maps(body: BodyModel, seen: Sightings, profile: DetectorProfile, chosen: MapDetector) -> MapReadings:
    """The last reading of everybody whom enough views found."""
    names: tuple[str, ...] = ()
    evidence, miss = [], []
    for person, views in seen.well_found():
        rig, told = seen.rig(person), evidence_on(body, seen.told(person, profile))
        names = told.landmark_names
        rests_on, middle, metre, skin = _read(body, rig, told, seen, views, chosen)
        truth = _places(rig, skin, pose_landmarks(skin, seen.truth[person : person + 1]).positions)[0]
        evidence.append(torch.from_numpy(rests_on))
        miss.append(torch.from_numpy(np.linalg.norm(middle - truth, axis=-1) / metre))
    return MapReadings(names, torch.cat(evidence), torch.cat(miss))


def _read(
    body: BodyModel, rig: CameraRig, told: Evidence, seen: Sightings, views: slice, chosen: MapDetector
) -> tuple[np.ndarray, np.ndarray, np.ndarray, LandmarkSkin]:
    """What the last reading's claims rest on, where the maps alone put the points (pixels), how many pixels a metre is
    there, and the skin.
    """
    joints = [seen.keypoints.keypoint_names.index(name) for name in told.landmark_names]
    looked = []
    for spread in READINGS:
        problem = told.problem(body, rig, CostOptions(), "free")
        fitted = GaussNewton().solve(problem, initialise(problem)).params
        pixels, metre = _places(rig, problem.skin, pose_landmarks(problem.skin, fitted).positions)
        if not looked:
            every = np.ones(len(joints), dtype=bool)
            for picture, expected in zip(seen.pictures[views], pixels, strict=True):
                crop = crop_around(expected, every, told.landmark_names)
                maps = chosen.detect_maps(picture, [crop])
                looked.append((crop, MapWindows.around(maps.heat[0, joints], crop.from_picture(expected)), maps))
        places = [
            windows.read(crop, expected, spread * scale)
            for (crop, windows, _), expected, scale in zip(looked, pixels, metre, strict=True)
        ]
        own = [maps.points[0, joints, 2] for _, _, maps in looked]
        wide = [place.spread / scale for place, scale in zip(places, metre, strict=True)]
        middle = np.stack([place.middle for place in places])
        # A Gaussian expectation of variance s², taken out of a mean whose map alone has the variance a².
        alone = pixels + (middle - pixels) * (1 + (np.stack(wide) / spread) ** 2)[..., None]
        claims = np.stack([claimed(w, o) for w, o in zip(wide, own, strict=True)])
        told = replace(told, pixels=torch.from_numpy(middle)[None], confidence=torch.from_numpy(claims)[None])
    rests_on = np.stack([evidence_of(w, o) for w, o in zip(wide, own, strict=True)])
    return rests_on, alone, metre, problem.skin


def _places(
    rig: CameraRig, skin: LandmarkSkin, positions: Float[Tensor, "frame landmark 3"]
) -> tuple[np.ndarray, np.ndarray]:
    stacked = rig.stacked()
    pixels, depth = project(stacked, positions)
    return pixels[0].numpy(), (stacked.focal[:, None] / depth[0]).numpy()


def learn_claims(readings: MapReadings, habits: Habits) -> tuple[list[float], float]:
    """The numbers of ``claimed``, and the mean negative log-likelihood of a point's error (nats, metres)."""
    noise = CostOptions().noise
    weight = torch.zeros(readings.evidence.shape[-1] + 1, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([weight], max_iter=300, line_search_fn="strong_wolfe")

    def unlikely() -> Tensor:
        claim = torch.sigmoid(readings.evidence @ weight[:-1] + weight[-1])
        variance = noise**2 / habits.trust(claim, noise)
        tail = (FREEDOM + 2) / 2 * torch.log1p(readings.miss**2 / variance / FREEDOM)
        return (torch.log(2 * torch.pi * variance) + tail).mean()

    def step() -> Tensor:
        search.zero_grad()
        value = unlikely()
        value.backward()
        return value

    search.step(step)
    return weight.detach().tolist(), float(unlikely().detach())


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m refit_mv.workshop.training.detector_maps", description="What BlazePose's maps are worth."
    )
    parser.add_argument("--motion", type=Path, required=True, help="folder of motions that rendered people make")
    parser.add_argument("--people", type=int, default=150)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--seed", type=int, default=505)
    return say(_lines(parser.parse_args(arguments)))


def _lines(asked: argparse.Namespace) -> Iterator[str]:
    chosen, body = detector("blazepose"), load_body("open")
    assert isinstance(chosen, MapDetector)
    profile = read_profile(shipped_profiles()["blazepose"])
    bank = bank_of([asked.motion], DetectorRecipe().excluded_subjects)
    options = PictureOptions(people=asked.people, views=asked.views, kept=True)
    readings = read_maps(body, draw_sightings(chosen, body, bank, options, asked.seed), profile, chosen)
    claims, unlikely = learn_claims(readings, profile.on(readings.landmark_names))
    median = 1000 * float(readings.miss.median())
    yield f"{readings.miss.numel()} points, median miss {median:.1f} mm, {unlikely:.3f} nats"
    yield f"CLAIM = ({', '.join(f'{value:.2f}' for value in claims)})"


if __name__ == "__main__":
    sys.exit(main())
