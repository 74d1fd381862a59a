"""Batches for training: blocks regrouped by what must agree in a batch (views and keypoint set), noise drawn afresh,
bodies mixed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import load_pose_prior, prior_for
from refit_mv.body.sides import mirrored_order
from refit_mv.body.skin import LandmarkSkin, landmark_skin, pose_landmarks
from refit_mv.networks.scene import Scene
from refit_mv.solve.gaps import FEWEST_LANDMARKS
from refit_mv.solve.terms.rays import Rays
from refit_mv.workshop.synthetic.detector_noise import (
    APPARENT_STATURE,
    CONFIDENCE_SIGMA,
    PRESETS,
    DetectorNoise,
)
from refit_mv.workshop.synthetic.pose_bank import PoseBank, PoseMix, draw_poses
from refit_mv.workshop.synthetic.world import WORLDS
from refit_mv.workshop.training.sample_blocks import SampleBlock
from refit_mv.workshop.training.world_noise import world_noise

NOISE_KINDS = ("standard", "clean", "strong", "mixed", *WORLDS)
# Blocks of this kind were drawn with a detector that is not known any more.
LASTING = NOISE_KINDS.index("mixed")


@dataclass(frozen=True, eq=False)
class Batch:
    """Frames with the same views and landmarks. ``noise`` indexes ``NOISE_KINDS``."""

    scene: Scene
    evidence: Rays
    truth: BodyParams
    start: BodyParams
    noise: Int[Tensor, " frame"]

    @property
    def views(self) -> int:
        return self.evidence.bearing.shape[1]

    def to(self, device: torch.device | str) -> "Batch":
        """The same on another device."""
        single = torch.float32
        return Batch(
            self.scene.to(device),
            self.evidence.to(single, device),
            self.truth.to(single, device),
            self.start.to(single, device),
            self.noise.to(device),
        )


@dataclass(frozen=True, eq=False)
class _Group:
    landmark_names: tuple[str, ...]
    limb_orders: tuple[Int[Tensor, " landmark"], Int[Tensor, " landmark"]]
    evidence: Rays
    truth: BodyParams
    start: BodyParams
    noise: Int[Tensor, " frame"]
    body: Int[Tensor, " frame"]


def _group(blocks: Sequence[SampleBlock]) -> _Group:
    first = blocks[0]
    evidence = Rays.concatenate([block.evidence for block in blocks])
    # Frames in which nearly nothing is seen teach nothing but the mean pose.
    kept = ((evidence.confidence > 0).any(1).sum(-1) >= FEWEST_LANDMARKS).nonzero()[:, 0]
    return _Group(
        first.landmark_names,
        (
            torch.tensor(mirrored_order(first.landmark_names, "arms")),
            torch.tensor(mirrored_order(first.landmark_names, "legs")),
        ),
        evidence[kept],
        BodyParams.concatenate([block.truth for block in blocks])[kept],
        BodyParams.concatenate([block.start for block in blocks])[kept],
        torch.cat([torch.full((len(block),), NOISE_KINDS.index(block.noise)) for block in blocks])[kept],
        torch.cat([torch.full((len(block),), block.body) for block in blocks])[kept],
    )


def _uniform(shape: Sequence[int], bounds: tuple[float, float], generator: torch.Generator) -> Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * torch.rand(tuple(shape), generator=generator)


def fresh_noise(
    noise: DetectorNoise,
    landmarks: Float[Tensor, "frame landmark 3"],
    evidence: Rays,
    limb_orders: tuple[Int[Tensor, " landmark"], Int[Tensor, " landmark"]],
    generator: torch.Generator,
) -> Rays:
    """The detector model of ``synthetic.detector_noise`` on viewing directions instead of pixels, for the same points
    seen. A thousand times cheaper than whole sessions, so that no two batches show the same errors.
    """
    offset = landmarks[:, None] - evidence.center[:, :, None]
    depth = offset.norm(dim=-1)
    toward = offset / depth[..., None]
    frame_view, points = depth.shape[:2], depth.shape
    for order in limb_orders:
        swapped = torch.rand(frame_view, generator=generator) < noise.swap_share
        toward = torch.where(swapped[..., None, None], toward[:, :, order], toward)
    sigma = noise.sigma * _uniform(points, noise.spread, generator)
    outlier = torch.rand(points, generator=generator) < noise.outlier_share
    size = torch.where(outlier, torch.full_like(sigma, noise.outlier_sigma), sigma)
    shift = (
        torch.randn(*points, 3, generator=generator)
        * (size * APPARENT_STATURE / depth.mean(-1, keepdim=True))[..., None]
    )
    shift = shift - (shift * toward).sum(-1, keepdim=True) * toward
    confidence = torch.exp(-sigma / CONFIDENCE_SIGMA) * _uniform(points, noise.confidence, generator)
    confidence = torch.where(outlier, confidence * _uniform(points, noise.outlier_confidence, generator), confidence)
    seen = evidence.confidence > 0
    return replace(
        evidence,
        bearing=torch.where(seen[..., None], torch.nn.functional.normalize(toward + shift, dim=-1), evidence.bearing),
        confidence=torch.where(seen, confidence, torch.zeros_like(confidence)),
    )


@dataclass(frozen=True, eq=False)
class StackedSkin(LandmarkSkin):
    """A skin whose rest joints and anchors differ by frame: bodies of one topology side by side."""

    rest_mean: Float[Tensor, "frame joint 3"]
    anchor: Float[Tensor, "frame pair 3"]


def stacked_skins(skins: Sequence[LandmarkSkin]) -> StackedSkin:
    """The skins of bodies of one topology, one after the other; index ``rest_mean`` and ``anchor`` to give every frame
    its own.
    """
    values = {field.name: getattr(skins[0], field.name) for field in fields(LandmarkSkin)}
    values["rest_mean"] = torch.stack([skin.rest_mean for skin in skins])
    values["anchor"] = torch.stack([skin.anchor for skin in skins])
    return StackedSkin(**values)


class SamplePool:
    """Blocks at hand, the bodies they were made with, and the poses that people of a batch may strike instead."""

    def __init__(
        self, bodies: Sequence[BodyModel], blocks: Sequence[SampleBlock], bank: PoseBank, poses: PoseMix
    ) -> None:
        self._bodies = bodies
        self._prior = prior_for(bodies[0])
        self._bank, self._poses = bank, poses
        self._skins: dict[tuple[str, ...], StackedSkin] = {}
        grouped: dict[tuple[int, str], list[SampleBlock]] = {}
        for block in blocks:
            grouped.setdefault((block.views, block.keypoint_set), []).append(block)
        self._groups = {key: _group(members) for key, members in sorted(grouped.items())}

    def __len__(self) -> int:
        return sum(len(group.body) for group in self._groups.values())

    def _stacked_skin(self, names: tuple[str, ...]) -> StackedSkin:
        """All bodies' rest joints and anchors side by side; they share topology, so everything else is the first
        body's.
        """
        if names not in self._skins:
            self._skins[names] = stacked_skins(
                [landmark_skin(body, names).to(torch.float32, "cpu") for body in self._bodies]
            )
        return self._skins[names]

    def _strike_poses(
        self, truth: BodyParams, start: BodyParams, chosen: Bool[Tensor, " frame"], rng: np.random.Generator
    ) -> tuple[BodyParams, BodyParams]:
        """Other poses for the chosen people where they stand, and starts that are as far off as theirs were: pelvis and
        root in the world, joints in their own frames.
        """
        height, rotations = draw_poses(self._bank, load_pose_prior(), self._poses, len(truth), rng)
        pelvis = truth.pelvis.clone()
        pelvis[:, 1] = height.to(pelvis)
        turned = rotations.to(truth.rotations)
        error = truth.rotations.transpose(-1, -2) @ start.rotations
        started = turned @ error
        started[:, 0] = start.rotations[:, 0] @ truth.rotations[:, 0].transpose(-1, -2) @ turned[:, 0]
        new_start = BodyParams(start.pelvis + pelvis - truth.pelvis, started, start.shape)
        new_truth = BodyParams(pelvis, turned, truth.shape)
        return new_truth.where(chosen, truth), new_start.where(chosen, start)

    def draw(
        self,
        size: int,
        view_chance: dict[int, float],
        rng: np.random.Generator,
        *,
        locked: float,
        fresh: float,
        renewed: float,
        dropout: float,
    ) -> Batch:
        """A random batch. ``locked`` is the share of batches with the shape given, ``fresh`` of those with new noise,
        ``renewed`` of these with new poses as well, ``dropout`` the largest share of observations struck out.
        """
        keys = list(self._groups)
        sizes = np.array([float(len(self._groups[key].body)) for key in keys])
        totals = {views: sizes[[key[0] == views for key in keys]].sum() for views in {key[0] for key in keys}}
        chances = np.array(
            [view_chance.get(key[0], 0.0) * count / totals[key[0]] for key, count in zip(keys, sizes, strict=True)]
        )
        group = self._groups[keys[int(rng.choice(len(keys), p=chances / chances.sum()))]]
        # Costs grow with views times landmarks: batches of markers are smaller.
        size = max(16, int(size * min(1.0, 110.0 / group.evidence.confidence[0].numel()) ** 0.5))
        chosen = torch.from_numpy(rng.integers(0, len(group.body), size))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        evidence, truth, start = group.evidence[chosen], group.truth[chosen], group.start[chosen]
        noise, body = group.noise[chosen], group.body[chosen]
        with_shape = rng.uniform() >= locked
        table = self._stacked_skin(group.landmark_names)
        skin = replace(table, rest_mean=table.rest_mean[body], anchor=table.anchor[body])
        scene = Scene.of(skin, self._bodies[0].joint_names, self._prior, with_shape)
        if rng.uniform() < fresh:
            if rng.uniform() < renewed:
                truth, start = self._strike_poses(truth, start, noise != LASTING, rng)
            landmarks = pose_landmarks(skin, truth).positions
            for index, kind in enumerate(NOISE_KINDS):
                rows = (noise == index).nonzero()[:, 0]
                if len(rows) and index != LASTING:
                    if kind in WORLDS:
                        own = replace(skin, rest_mean=skin.rest_mean[rows], anchor=skin.anchor[rows])
                        anew = world_noise(WORLDS[kind], own, truth[rows], evidence[rows], generator)
                    else:
                        anew = fresh_noise(PRESETS[kind], landmarks[rows], evidence[rows], group.limb_orders, generator)
                    evidence = replace(
                        evidence,
                        bearing=evidence.bearing.index_copy(0, rows, anew.bearing),
                        confidence=evidence.confidence.index_copy(0, rows, anew.confidence),
                    )
        share = (
            dropout * torch.rand(size, 1, 1, generator=generator) * (torch.rand(size, 1, 1, generator=generator) < 0.3)
        )
        keep = (torch.rand(evidence.confidence.shape, generator=generator) >= share).to(torch.float32)
        if not with_shape:
            start = replace(start, shape=truth.shape + 0.15 * torch.randn(truth.shape.shape, generator=generator))
        return Batch(scene, evidence.without(keep), truth, start, noise)
