"""What residuals tell of errors that last: what could show of them at all, and what shows."""

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.solve.lasting_system import LastingErrors, LastingSystem, mirrored

# So many blocks, spread over all, tell how large the variances are.
TELLING_BLOCKS = 10
# Standard deviations that are tried for placements and for views, metres: equally likely beforehand, but for that of
# views being about that of placements, give or take a factor of e. Two views alone hardly tell. The smallest must leave
# nothing behind: with none below half a millimetre 74 % of the errors under plain noise lay within one standard
# deviation with two views, not 70.
TRIED = (0.00025, 0.0005, 0.001, 0.002, 0.0035, 0.006, 0.009, 0.013, 0.018, 0.025)
ABOUT_ALIKE = 1.0
# One view's own errors of a point are thought to be at most about half of how far it sits beside the body's in all
# views, give or take a factor of e to the half. Squares of residuals alone hardly tell the two apart: without this
# placements came out at 0.7, 0.8 and 0.9 of their true variance with two, four and eight views (world ``studio``,
# classic optimizer, training motions), with it at 1.0, 0.9 and 1.0.
OWN_SHARE, OWN_DOUBT = 0.5, 0.5
# A person's own offsets and shape, where they were solved for, are known to this: a placement's standard deviation.
MET_SIGMA = 0.006
# Errors of observations are never thought smaller than this, metres: a likelihood needs some.
LEAST_SIGMA = 0.0003
# Singular values, as a share of the largest, below which nothing shows.
HIDDEN = 1e-4


def lasting_errors(system: LastingSystem, met: bool) -> LastingErrors:
    """The variances, from what residuals of different blocks have in common."""
    place = torch.linspace(0, len(system) - 1, min(TELLING_BLOCKS, len(system))).round().long()
    shown = Shown.of(system[place.to(system.weight.device)])
    if len(system) == 1:
        return shown.errors(None, met)
    return shown.errors(in_common(system[slice(1, None)], system[slice(0, -1)]).mean(), met)


def in_common(later: LastingSystem, earlier: LastingSystem) -> Float[Tensor, " block"]:
    """The products of what blocks and the ones before them show, weighed and summed over observations."""
    weight = (later.weight * earlier.weight).sqrt()
    return (weight * (later.residual * earlier.residual).sum(-1)).sum((-1, -2))


@dataclass(frozen=True, eq=False)
class Shown:
    """What can show of errors of unit variance, and what shows: sums over blocks, which add up. ``visible`` is how
    errors show in what residuals tell of them, ``scattered`` the covariance there of errors of observations, ``told``
    what shows. ``parts`` is what placements, views and observations add to the sum of squared residuals, ``root`` what
    residuals sum to over blocks, ``squared`` what their squares do.
    """

    blocks: int
    names: tuple[str, ...]
    visible: Float[Tensor, "error error"]
    scattered: Float[Tensor, "error error"]
    told: Float[Tensor, " error"]
    parts: Float[Tensor, "3"]
    root: Float[Tensor, "view landmark 3"]
    squared: Float[Tensor, ""]

    @staticmethod
    def of(system: LastingSystem) -> "Shown":
        eye = torch.eye(system.factor.shape[-1], dtype=system.factor.dtype, device=system.factor.device)
        white = torch.linalg.solve_triangular(system.factor, eye.expand_as(system.factor), upper=False)
        once, twice = system.carried(white, system.plain), system.carried(white, system.squared)
        evidence = white @ system.at_unknowns(system.plain) @ white.mT
        noise = white @ system.at_unknowns(system.squared) @ white.mT
        own, taken, across = system.own(system.plain), once.mT @ once, once.mT @ twice
        squares = (own - 2 * taken + once.mT @ evidence @ once).sum(0)
        rest = system.placed
        parts = torch.stack(
            [
                mirrored(squares[:rest, :rest], system.names).diagonal().sum(),
                squares[rest:, rest:].diagonal().sum(),
                (
                    2 * system.weight.sum((-1, -2))
                    - 2 * noise.diagonal(dim1=-2, dim2=-1).sum(-1)
                    + (evidence * noise).sum((-1, -2))
                ).sum(),
            ]
        )
        root = system.weight.sqrt()[..., None] * system.residual
        return Shown(
            len(system),
            system.names,
            (own - taken).sum(0),
            (system.own(system.squared) - across - across.mT + once.mT @ noise @ once).sum(0),
            system.seen_errors.sum(0),
            parts,
            root.sum(0),
            (root**2).sum(),
        )

    def __add__(self, other: "Shown") -> "Shown":
        summed = (each.name for each in fields(self) if each.name != "names")
        return replace(self, **{name: getattr(self, name) + getattr(other, name) for name in summed})

    def errors(self, common: Float[Tensor, ""] | None, met: bool) -> LastingErrors:
        """The variances, given the mean product of neighbouring blocks (``in_common``; None: there is but one)."""
        placement, view = self.likely()
        observation = 0.0
        if common is not None:
            observation = max(float(self._left(common, torch.tensor([[placement, view]]))), 0.0)
        return LastingErrors(placement + (MET_SIGMA**2 if met else 0.0), view, observation)

    @property
    def _common(self) -> Float[Tensor, ""]:
        """The mean product of different blocks: squares without what is each block's own."""
        if self.blocks == 1:
            return torch.zeros_like(self.squared)
        return ((self.root**2).sum() - self.squared) / (self.blocks * (self.blocks - 1))

    def _left(self, common: Float[Tensor, ""], variances: Float[Tensor, "trial 2"]) -> Float[Tensor, " trial"]:
        """The variance of observations' errors, where placements and views have ``variances``."""
        parts = self.parts / self.blocks
        return (common - variances.to(parts) @ parts[:2]) / parts[2]

    def likely(self) -> tuple[float, float]:
        """The mean variances of placements and of views, m², given what shows."""
        count = self.blocks
        rest = 3 * self.root.shape[1]
        visible, scattered, common = self.visible / count, self.scattered / count, self._common
        # What the rest leaves in a mean over blocks.
        noise = (self.squared / count - common) / self.parts[2]
        # Whatever views might do is taken out before placements are judged.
        apart = torch.eye(len(visible), dtype=visible.dtype, device=visible.device)
        hidden = torch.linalg.pinv(visible[rest:, rest:], rtol=HIDDEN, hermitian=True)
        apart[:rest, rest:] = -visible[:rest, rest:] @ hidden
        visible, scattered, told = apart @ visible, apart @ scattered @ apart.mT, (apart @ (self.told / count)) ** 2
        tried = torch.tensor([[one**2, other**2] for one in TRIED for other in TRIED]).to(self.parts)
        single = self._left(common, tried).clamp_min(LEAST_SIGMA**2)
        excess = (single / (OWN_SHARE**2 * tried[:, 0])).log().clamp_min(0)
        single = single + noise
        variances = torch.cat([tried, single[:, None]], dim=1)
        placed, viewed = visible[:, :rest], visible[:, rest:]
        covariances = [mirrored(placed, self.names) @ placed.mT, viewed @ viewed.mT, scattered]
        plausible = -((tried[:, 1] / tried[:, 0]).log() ** 2) / (8 * ABOUT_ALIKE**2)
        plausible = plausible - excess**2 / (8 * OWN_DOUBT**2)
        for rows in (slice(0, rest), slice(rest, None)):
            own = torch.stack([each[rows, rows] for each in covariances])
            # A sum of squares of this covariance is nearly that of so many independent ones (Satterthwaite 1946). Less
            # than the smallest variances leave is no news.
            expected = variances @ own.diagonal(dim1=-2, dim2=-1).sum(-1)
            square = torch.einsum("aij,bij->ab", own, own)
            if float(expected.min()) <= 0:
                continue
            degrees = expected**2 / (variances @ square * variances).sum(-1)
            ratio = torch.maximum(told[rows].sum(), expected.min()) / expected
            density = (degrees / 2 - 1) * (degrees / 2 * ratio).log() - degrees / 2 * ratio - torch.lgamma(degrees / 2)
            plausible = plausible + density + (degrees / 2 / expected).log()
        placement, view = (torch.softmax(plausible, 0) @ tried).tolist()
        return placement, view
