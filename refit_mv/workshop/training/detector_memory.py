"""How long a detector's errors last: how what it got wrong of a point resembles what it gets wrong of it later."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import nnls
from torch import Tensor

from refit_mv.body.model import BodyModel
from refit_mv.session.detector_profile import DetectorProfile
from refit_mv.workshop.training.detector_films import Filmed
from refit_mv.workshop.training.detector_habits import LEAST_CONFIDENCE, misses

# What errors may fade with, seconds; what outlasts a film cannot be told from what stays.
FADING = (0.05, 0.2, 1.0)
# Errors beyond so many of the profile's sigmas are gross, and the robust kernel's.
GROSS = 6.0
# The longest spans of a film hold few pairs of frames: spans up to this share of it are compared.
LONGEST = 0.8


def with_memory(profile: DetectorProfile, body: BodyModel, films: Sequence[Filmed]) -> DetectorProfile:
    """The profile, its card saying how errors last: from the correlation of errors over every span of time, beside the
    profile's offsets and in its sigmas, the decaying exponentials that add up to it, by non-negative least squares.
    """
    spans, correlations, pairs = [], [], []
    for film in films:
        errors = _errors(body, film, profile)
        for lag in range(1, int(LONGEST * len(errors))):
            before, after = errors[:-lag], errors[lag:]
            product, size = (before * after).sum(-1), ((before**2).sum(-1) + (after**2).sum(-1)) / 2
            known = product.isfinite()
            if bool(known.any()):
                spans.append(lag / film.fps)
                correlations.append((float(product[known].sum()), float(size[known].sum())))
                pairs.append(int(known.sum()))
    if not spans:
        return profile
    time, (product, size) = np.array(spans), np.array(correlations).T
    bases = np.stack([np.ones_like(time), *(np.exp(-time / seconds) for seconds in FADING)], -1)
    # By sums rather than quotients: a film of one still point must not count as much as one of many that move.
    weight = 1 / np.sqrt(np.array(pairs))
    shares, _ = nnls(weight[:, None] * size[:, None] * bases, weight * product)
    shares = shares / max(1.0, float(shares.sum()))
    fades = tuple((seconds, float(share)) for seconds, share in zip(FADING, shares[1:], strict=True) if share > 0)
    return replace(profile, card=replace(profile.card, stays=float(shares[0]), fades=fades))


def _errors(body: BodyModel, film: Filmed, profile: DetectorProfile) -> Float[Tensor, "frame view landmark 3"]:
    """In the profile's sigmas; NaN where nothing was reported, and where what was is no error of measurement."""
    told = misses(body, film.seen)
    habits = profile.on(told.landmark_names)
    # ``trust`` is (noise / sigma)²: at a noise far below any sigma it is never cut at 1.
    tiny = 1e-6
    scaled = told.beside(habits.offset) * (habits.trust(told.confidence, tiny).sqrt() / tiny)[..., None]
    sound = told.known & (told.confidence >= LEAST_CONFIDENCE) & (scaled.norm(dim=-1) < GROSS)
    errors = torch.where(sound[..., None], scaled, torch.full_like(scaled, torch.nan))
    return errors.unflatten(0, (-1, film.seen.views))
