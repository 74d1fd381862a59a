"""Mixtures of vertices that stay at a joint's centre however the joint is bent.

A joint regressor is fitted in the rest pose only: the vertices it mixes may follow the bones on either side unevenly,
and after bending an elbow the mixture lies centimetres from the elbow (34 mm rms with the open body's own regressor
rows). Here the part of the mixture that turns with the joint is balanced about the joint as well, so that turning it
leaves the mixture in place.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import nnls

# Rows of the least-squares problem in units of metres; the sum to one is held this much firmer than a metre of offset.
SUM_WEIGHT = 10.0
# Mass on joints other than the joint and its parent swings about elsewhere; priced as if it sat 5 cm away.
STRAY_WEIGHT = 0.05
# Balance counts more than the place in bodies other than the mean.
SHAPE_WEIGHT = 0.3
SMALLEST_WEIGHT = 1e-4


def descendants(parents: tuple[int, ...]) -> Bool[np.ndarray, "ancestor joint"]:
    """Whether a joint lies at or below another."""
    below = np.eye(len(parents), dtype=bool)
    for joint, parent in enumerate(parents):
        if parent >= 0:
            below[:, joint] |= below[:, parent]
    return below


def joint_centre_row(
    joint: int,
    terms: Float[np.ndarray, "vertex 3 term"],
    joint_rows: Float[np.ndarray, "joint vertex"],
    weights: Float[np.ndarray, "vertex joint"],
    parents: tuple[int, ...],
    candidates: int = 1500,
) -> Float[np.ndarray, " vertex"]:
    """Non-negative weights, summing to one, of vertices that are centred on the joint at rest and remain so when it
    turns.

    Args:
        terms: the template and each shape direction, as columns (m).
        joint_rows: the body's own joint regressor, which says where the joint is.
        weights: skin weights.
        candidates: how many of the nearest vertices may take part.
    """
    centre = np.tensordot(joint_rows[joint], terms, axes=1)
    chosen = np.argsort(np.linalg.norm(terms[..., 0] - centre[:, 0], axis=1), kind="stable")[:candidates]
    moving = weights[chosen][:, descendants(parents)[joint]].sum(1)
    parent = parents[joint]
    stray = 1.0 - moving - (weights[chosen, parent] if parent >= 0 else 0.0)
    # Descendants beyond the joint itself turn about their own centres too.
    stray += moving - weights[chosen, joint]
    offset = terms[chosen] - centre
    importance = np.append(1.0, np.full(terms.shape[2] - 1, SHAPE_WEIGHT))
    place = (offset * importance).reshape(len(chosen), -1).T
    balance = (offset * importance * moving[:, None, None]).reshape(len(chosen), -1).T
    rows = [place, balance, STRAY_WEIGHT * stray[None], np.full((1, len(chosen)), SUM_WEIGHT)]
    matrix = np.concatenate(rows)
    right = np.zeros(len(matrix))
    right[-1] = SUM_WEIGHT
    solution, _ = nnls(matrix, right, maxiter=30 * len(chosen))
    solution[solution < SMALLEST_WEIGHT] = 0.0
    row = np.zeros(len(terms))
    row[chosen] = solution / solution.sum()
    return row


def joint_centre_rows(
    joints: Int[np.ndarray, " chosen"],
    template: Float[np.ndarray, "vertex 3"],
    shape_directions: Float[np.ndarray, "vertex 3 shape"],
    joint_rows: Float[np.ndarray, "joint vertex"],
    weights: Float[np.ndarray, "vertex joint"],
    parents: tuple[int, ...],
) -> Float[np.ndarray, "chosen vertex"]:
    """``joint_centre_row`` for several joints of one body."""
    terms = np.concatenate([template[..., None], shape_directions], axis=2)
    return np.stack([joint_centre_row(int(joint), terms, joint_rows, weights, parents) for joint in joints])
