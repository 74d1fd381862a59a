"""Bodies of other proportions, made from one body: so that weights are not trained on the bones of a single model."""

from dataclasses import replace

import numpy as np
import torch

from refit_mv.body.model import BodyModel
from refit_mv.body.sides import mirrored_order


def body_variant(body: BodyModel, spread: float, rng: np.random.Generator) -> BodyModel:
    """The body with every bone scaled by about ``exp(N(0, spread))``, left and right alike, and its flesh scaled around
    the joints.

    Shape directions, skinning and topology stay. The body must have SMPL's 24 joints. Joints are regressed from the
    warped template, so the variant is as consistent as the body itself.
    """
    joints = body.joint_count
    order = list(mirrored_order(body.joint_names))
    own = rng.normal(size=joints)
    factor = np.exp(spread * (0.6 * rng.normal() + 0.8 * (own + own[order]) / 2**0.5))
    flesh_own = rng.normal(size=joints)
    flesh = np.exp(0.5 * spread * (flesh_own + flesh_own[order]))
    rest = body.joint_regressor @ body.template
    moved = [rest[0]]
    for joint in range(1, joints):
        parent = body.parents[joint]
        moved.append(moved[parent] + float(factor[joint]) * (rest[joint] - rest[parent]))
    shift = torch.stack(moved)
    # Along a bone flesh follows the bone's length: the mean of the joint's own children's factors; across it goes with
    # ``flesh``.
    size = torch.as_tensor(flesh, dtype=rest.dtype)
    along = torch.ones(joints, 3, dtype=rest.dtype) * size[:, None]
    for joint in range(joints):
        children = [child for child in range(joints) if body.parents[child] == joint]
        if len(children) == 1:
            axis = (rest[children[0]] - rest[joint]).abs().argmax()
            along[joint, axis] = float(factor[children[0]])
    local = body.template[:, None] - rest
    template = (body.skin_weights[..., None] * (shift + along * local)).sum(1)
    return replace(body, name=f"{body.name} variant", template=template)


def with_variants(body: BodyModel, count: int, spread: float, rng: np.random.Generator) -> list[BodyModel]:
    """The body and so many variants of it."""
    return [body, *(body_variant(body, spread, rng) for _ in range(count))]
