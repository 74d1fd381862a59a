"""How sure the learned optimizer is: the last layer's normal matrix carried to the joints, and scaled so that it has
been right on unseen people.

Laplace's approximation knows which directions the evidence leaves open, but not how often weights and targets mislead.
A log-linear correction per joint, fitted on validation data, makes up for it; its coefficients travel with the weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.errors import InputError
from refit_mv.networks.features import STATISTICS, STATISTICS_COLUMNS
from refit_mv.networks.scene import JOINT_STREAMS, Scene

# Log standard deviations outside this range (0.1 mm to 2 m) are not believed.
SMALLEST_LOG, LARGEST_LOG = -9.2, 0.7
# One, log sigma, the statistics, and products of two of them: how large residuals are, and one over the views. A
# residual of a millimetre means much with eight views and little with one.
RESIDUAL, FEW_VIEWS = (STATISTICS_COLUMNS.index(name) for name in ("log_residual", "inverse_views"))
CORRECTION_FEATURES = 2 + STATISTICS + 3


@dataclass(frozen=True, eq=False)
class SigmaCorrection:
    """``log σ = Σ coefficient · (1, log σ of the normal matrix, statistics of the evidence)``, one row of coefficients
    per SMPL joint.
    """

    coefficients: Float[Tensor, "stream feature"]

    @staticmethod
    def none() -> "SigmaCorrection":
        coefficients = torch.zeros(JOINT_STREAMS, CORRECTION_FEATURES, dtype=torch.float32)
        coefficients[:, 1] = 1
        return SigmaCorrection(coefficients)

    @staticmethod
    def of(facts: Mapping[str, object]) -> "SigmaCorrection":
        """From the facts stored with weights; none where they hold none."""
        rows = facts.get("sigma_correction")
        if rows is None:
            return SigmaCorrection.none()
        if not isinstance(rows, Sequence):
            raise InputError("the weights' uncertainty correction is damaged; train them again")
        coefficients = torch.tensor(rows, dtype=torch.float32)
        if coefficients.shape != (JOINT_STREAMS, CORRECTION_FEATURES):
            raise InputError(
                f"the weights' uncertainty correction has shape {tuple(coefficients.shape)}; train them again"
            )
        return SigmaCorrection(coefficients)

    def log_sigma(
        self, log_sigma: Float[Tensor, "frame stream"], statistics: Float[Tensor, "frame statistic"]
    ) -> Float[Tensor, "frame stream"]:
        clamped = log_sigma.clamp(SMALLEST_LOG, LARGEST_LOG)
        size, few = statistics[:, RESIDUAL], statistics[:, FEW_VIEWS]
        products = torch.stack([size * size, size * few, few * few], dim=-1)
        facts = torch.cat([torch.ones_like(products[:, :1]), statistics, products], dim=-1)
        coefficients = self.coefficients.to(statistics.device)
        fixed = facts @ coefficients[:, [0, *range(2, CORRECTION_FEATURES)]].T
        return (fixed + coefficients[:, 1] * clamped).clamp(SMALLEST_LOG, LARGEST_LOG)


def corrected_covariance(
    scene: Scene,
    covariance: Float[Tensor, "frame joint 3 3"],
    statistics: Float[Tensor, "frame statistic"],
    correction: SigmaCorrection,
) -> Float[Tensor, "frame joint 3 3"]:
    """The covariance scaled joint by joint; joints beyond SMPL's 24 (fingers) take the mean factor of the others."""
    log_sigma = 0.5 * (covariance.diagonal(dim1=-2, dim2=-1).mean(-1).clamp_min(1e-9)).log()
    own = log_sigma[:, scene.stream_joint]
    change = (correction.log_sigma(own, statistics) - own) * scene.stream_present
    mean = (change.sum(-1) / scene.stream_present.sum())[:, None]
    everywhere = mean.expand_as(log_sigma).clone()
    known = scene.stream_present > 0
    everywhere[:, scene.stream_joint[known]] = change[:, known]
    return covariance * (2 * everywhere).exp()[..., None, None]
