"""Bodies to test with: the open body as plain arrays, and look-alikes of SMPL-H and SMPL-X made from it (the official
files are not free).
"""

import numpy as np
import pytest
import torch

from refit_mv.body.joints import SKELETONS, SMPL_JOINT_NAMES
from refit_mv.body.open_body import OPEN_BODY_FILE

torch.set_num_threads(1)

SMPL_KEYS = ("v_template", "shapedirs", "posedirs", "weights", "J_regressor", "kintree_table", "f")


def smpl_arrays() -> dict[str, np.ndarray]:
    """The open body under SMPL's keys alone, with small random pose correctives so that these are tested too."""
    with np.load(OPEN_BODY_FILE, allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in SMPL_KEYS}
    generator = np.random.default_rng(5)
    arrays["posedirs"] = generator.normal(0.0, 2e-3, arrays["posedirs"].shape).astype(np.float32)
    arrays["shapedirs"] = arrays["shapedirs"].astype(np.float32)
    return arrays


def expanded_arrays(kind: str) -> dict[str, np.ndarray]:
    """The same body with the joints of SMPL-H or SMPL-X: fingers share the hand's skin by turns, jaw and eyes carry
    nothing.
    """
    arrays = smpl_arrays()
    names, parents = SKELETONS[kind].joint_names, SKELETONS[kind].parents
    vertices = len(arrays["v_template"])
    weights = np.zeros((vertices, len(names)), dtype=np.float32)
    regressor = np.zeros((len(names), vertices), dtype=np.float32)
    place = (arrays["J_regressor"] @ arrays["v_template"]).astype(np.float64)
    for joint, name in enumerate(names):
        if name in SMPL_JOINT_NAMES:
            weights[:, joint] = arrays["weights"][:, SMPL_JOINT_NAMES.index(name)]
            regressor[joint] = arrays["J_regressor"][SMPL_JOINT_NAMES.index(name)]
        else:
            regressor[joint, joint] = 1.0
    for side in ("left", "right"):
        hand = SMPL_JOINT_NAMES.index(f"{side}_hand")
        share = arrays["weights"][:, hand]
        fingers = ("index", "middle", "ring", "pinky")
        # Fingers lie one behind the other along z in the T-pose, the index in front.
        strip = np.digitize(arrays["v_template"][:, 2] - place[hand, 2], [-0.02, 0.0, 0.02])
        for rank, finger in enumerate(reversed(fingers)):
            chosen = (strip == rank) & (share > 0)
            joint = names.index(f"{side}_{finger}1")
            weights[chosen, joint] = share[chosen]
            root = np.flatnonzero(chosen)
            near = root[np.argsort(np.linalg.norm(arrays["v_template"][root] - place[hand], axis=1))[:6]]
            regressor[joint] = 0.0
            regressor[joint, near] = 1.0 / len(near)
    arrays["weights"], arrays["J_regressor"] = weights, regressor
    parent_row = [2**32 - 1, *parents[1:]]
    arrays["kintree_table"] = np.array([parent_row, range(len(names))], dtype=np.int64)
    # Correctives are tested with the smaller SMPL; zeros keep these quick.
    arrays["posedirs"] = np.zeros((vertices, 3, 9 * (len(names) - 1)), dtype=np.float32)
    if kind == "smplx":
        expressions = np.random.default_rng(6).normal(0.0, 1e-3, (vertices, 3, 10)).astype(np.float32)
        arrays["shapedirs"] = np.concatenate([arrays["shapedirs"], expressions], axis=2)
    return arrays


@pytest.fixture(scope="session")
def smpl_like() -> dict[str, np.ndarray]:
    return smpl_arrays()


@pytest.fixture(scope="session")
def smplh_like() -> dict[str, np.ndarray]:
    return expanded_arrays("smplh")


@pytest.fixture(scope="session")
def smplx_like() -> dict[str, np.ndarray]:
    return expanded_arrays("smplx")
