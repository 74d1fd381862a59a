"""What is believed of a lens before anything is measured.

Weak normal distributions: a dozen good views leave nothing of them, but with boards that are all frontal, or in one
corner of the picture, they keep a lens from becoming absurd, and the stated uncertainty says that nothing was measured.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from calib.board.lens import CX, FIRST_COEFFICIENT, FX, FY, NUMBERS
from refit_mv.geometry.camera import LensModel

# A usual lens's focal length over the longer side of its picture, and one standard deviation of its logarithm: from
# 1/3.3 to 3.3 times that at two.
_USUAL: dict[LensModel, float] = {"brown_conrady": 0.9, "fisheye": 0.4}
_FOCAL_SIGMA = 0.6
# Pixels are square: how far fx and fy may differ, as a share.
_ASPECT_SIGMA = 0.003
# Of the picture's middle, as a share of the longer side.
_MIDDLE_SIGMA = 0.1
# By how much a coefficient may bend the picture's corner, as a share of its distance from the middle: k1 k2 p1 p2 k3.
# Webcams bend by up to 0.4 in each of the radial ones, which cancel.
_BEND = np.array([0.5, 0.5, 0.01, 0.01, 0.3])
_FISHEYE_BEND = np.array([0.3, 0.2, 0.15, 0.1])


@dataclass(frozen=True, eq=False)
class LensBelief:
    """``focal`` in pixels is usual, fx and fy are about that by ``_FOCAL_SIGMA`` and about each other by
    ``_ASPECT_SIGMA``; ``mean`` and ``sigma`` are of the other numbers, from cx on.
    """

    focal: float
    mean: Float[np.ndarray, "7"]
    sigma: Float[np.ndarray, "7"]

    def linearised(
        self, numbers: Float[np.ndarray, "9"]
    ) -> tuple[Float[np.ndarray, " row"], Float[np.ndarray, "row 9"]]:
        """How far a lens is from what is believed, in standard deviations, and the derivatives of that."""
        fx, fy = float(numbers[FX]), float(numbers[FY])
        off = np.concatenate(
            [
                [np.log(fx / self.focal) / _FOCAL_SIGMA, np.log(fy / self.focal) / _FOCAL_SIGMA],
                [np.log(fx / fy) / _ASPECT_SIGMA],
                (numbers[CX:] - self.mean) / self.sigma,
            ]
        )
        by_number = np.zeros((len(off), NUMBERS))
        by_number[0, FX], by_number[1, FY] = 1 / (fx * _FOCAL_SIGMA), 1 / (fy * _FOCAL_SIGMA)
        by_number[2, FX], by_number[2, FY] = 1 / (fx * _ASPECT_SIGMA), -1 / (fy * _ASPECT_SIGMA)
        by_number[range(3, len(off)), range(CX, NUMBERS)] = 1 / self.sigma
        return off, by_number


def belief(model: LensModel, focal: float, size: tuple[int, int]) -> LensBelief:
    """What to expect of a lens before a picture of ``size``. ``focal`` (about what it is) scales the distortion
    alone."""
    width, height = size
    corner = 0.5 * float(np.hypot(width, height)) / focal
    if model == "fisheye":
        coefficients = np.append(_FISHEYE_BEND / corner ** np.array([2, 4, 6, 8]), 1e-9)
    else:
        coefficients = _BEND / corner ** np.array([2, 4, 1, 1, 6])
    mean = np.array([(width - 1) / 2, (height - 1) / 2, 0, 0, 0, 0, 0])
    sigma = np.concatenate([[_MIDDLE_SIGMA * max(size)] * 2, coefficients])
    return LensBelief(_USUAL[model] * max(size), mean, sigma)


def plain_lens(focal: float, size: tuple[int, int]) -> Float[np.ndarray, "9"]:
    """The numbers of a lens that bends nothing, its middle the picture's."""
    numbers = np.zeros(NUMBERS)
    numbers[:FIRST_COEFFICIENT] = focal, focal, (size[0] - 1) / 2, (size[1] - 1) / 2
    return numbers
