"""What is known of a detector before a recording: where on the body its points really sit, and what its confidence
means.

A profile is one safetensors file with a small card in its header. Its offsets are in the rest pose's axes (SMPL's: x to
the person's left, y up, z forward), where the landmark's own joints carry them: another body, in another pose, inherits
them. ``refit-mv train detector`` learns one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from refit_mv.errors import InputError
from refit_mv.files import complete_or_absent, regular_file

FORMAT = "refit-mv detector profile 1"
# A profile of 133 points is 30 kB.
LARGEST = 2**24
# How a report speaks of one.
PROFILE_OF = "detector profile of"
# Offsets and sigmas beyond this (metres) are no detector's, but a damaged file.
FARTHEST = 1.0


@dataclass(frozen=True)
class ProfileCard:
    """What a profile rests on. ``detector`` as the detection record has it; empty where profiles are of files of a
    keypoint set, whoever made them. ``found``: share of people found; ``swapped``: share of pairs of limbs' points
    that were given to the other side; ``lost``: share of a found person's points that claim less than 0.1. How errors
    last, as shares of their variance: ``stays`` for a whole film of a second or two, ``fades`` with time constants
    (seconds, share); the rest is new in every frame. Where nobody has filmed, nothing is said of it.
    """

    detector: str
    keypoints: str
    made_from: str
    people: int
    pictures: int
    found: float = 1.0
    swapped: float = 0.0
    lost: float = 0.0
    stays: float = 0.0
    fades: tuple[tuple[float, float], ...] = ()

    @staticmethod
    def of_plain(plain: Mapping[str, Any]) -> "ProfileCard":
        """What JSON made of a card.

        Raises:
            TypeError, ValueError: it is none.
        """
        fades = tuple((float(seconds), float(share)) for seconds, share in plain.get("fades", ()))
        return ProfileCard(**{**plain, "fades": fades})


@dataclass(frozen=True, eq=False)
class Habits:
    """A profile for some landmarks, in their order. ``offset`` (metres) is where a point sits beside the landmark of
    its name. ``sigma``: standard deviation per axis across the viewing direction (metres at the body) at each of the
    claimed confidences ``knots``; where a detector's confidence is taken as it comes, there are no knots.
    """

    offset: Float[Tensor, "landmark 3"]
    knots: Float[Tensor, " knot"]
    sigma: Float[Tensor, "landmark knot"]

    def trust(self, confidence: Float[Tensor, "*frame landmark"], noise: float) -> Float[Tensor, "*frame landmark"]:
        """The confidence at which a point of standard deviation ``noise`` (metres, at confidence 1) would be as good
        as these are: (noise / sigma)², at most 1; 0 where nothing was seen.
        """
        if not len(self.knots):
            return confidence
        knots, table = self.knots.to(confidence), (noise / self.sigma.to(confidence)) ** 2
        place = torch.searchsorted(knots, confidence.clamp(knots[0], knots[-1]).contiguous()).clamp(1, len(knots) - 1)
        share = (confidence.clamp(knots[0], knots[-1]) - knots[place - 1]) / (knots[place] - knots[place - 1])
        landmark = torch.arange(len(table), device=confidence.device).expand_as(place)
        below, above = table[landmark, place - 1], table[landmark, place]
        told = ((1 - share) * below + share * above).clamp(max=1.0)
        return torch.where(confidence > 0, told, torch.zeros_like(told))


@dataclass(frozen=True, eq=False)
class DetectorProfile:
    """The habits of a detector: :class:`Habits` of all ``landmark_names`` that were measured."""

    card: ProfileCard
    landmark_names: tuple[str, ...]
    habits: Habits

    def on(self, landmark_names: Sequence[str]) -> Habits:
        """The habits at the named landmarks; at those that were not measured a point sits where the body has it, and is
        as good as the profile's own at the middle.
        """
        count, known, own = len(landmark_names), self.habits, dict(zip(self.landmark_names, range(10**6), strict=False))
        kind = known.offset.dtype
        offset = torch.zeros(count, 3, dtype=kind)
        sigma = known.sigma.median(0).values.repeat(count, 1)
        for place, name in enumerate(landmark_names):
            if name in own:
                offset[place], sigma[place] = known.offset[own[name]], known.sigma[own[name]]
        return Habits(offset, known.knots, sigma)

    @property
    def text(self) -> str:
        """One line for whoever reads a report."""
        return f"{PROFILE_OF} {self.card.keypoints}: {self.card.made_from}"


def write_profile(path: Path, profile: DetectorProfile) -> None:
    """One file, whole or not at all."""
    metadata = {
        "format": FORMAT,
        "card": json.dumps(asdict(profile.card)),
        "landmarks": json.dumps(profile.landmark_names),
    }
    tensors = {each.name: getattr(profile.habits, each.name).to(torch.float32).contiguous() for each in fields(Habits)}
    with complete_or_absent(path) as temporary:
        save_file(tensors, str(temporary), metadata=metadata)


def read_profile(path: Path) -> DetectorProfile:
    """The inverse of :func:`write_profile`; float64.

    Raises:
        InputError: no such file, or none that this version wrote.
    """
    regular_file(path, "detector profile", LARGEST)
    try:
        with safetensors.safe_open(str(path), "pt") as file:
            metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise InputError(
                f"{path}: expected a '{FORMAT}', found '{metadata.get('format')}'; learn one with "
                "`refit-mv train detector`"
            )
        tensors = {name: value.to(torch.float64) for name, value in load_file(str(path)).items()}
        habits = Habits(**{each.name: tensors[each.name] for each in fields(Habits)})
        names = tuple(str(name) for name in json.loads(metadata["landmarks"]))
        profile = DetectorProfile(ProfileCard.of_plain(json.loads(metadata["card"])), names, habits)
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise InputError(f"{path}: cannot read the detector profile ({' '.join(str(error).split())[:200]})") from None
    _refuse_nonsense(path, profile)
    return profile


def _refuse_nonsense(path: Path, profile: DetectorProfile) -> None:
    habits, count, knots = profile.habits, len(profile.landmark_names), len(profile.habits.knots)
    shapes = {"offset": (count, 3), "knots": (knots,), "sigma": (count, knots)}
    wrong = [name for name, shape in shapes.items() if tuple(getattr(habits, name).shape) != shape]
    values = torch.cat([getattr(habits, each.name).flatten() for each in fields(Habits)])
    sound = bool(values.isfinite().all()) and float(values.abs().max()) <= FARTHEST and bool((habits.sigma > 0).all())
    rising = knots != 1 and bool((habits.knots.diff() > 0).all())
    card = profile.card
    shares = np.array([card.found, card.swapped, card.stays, *(share for _, share in card.fades)])
    if wrong or not sound or not rising or not ((shares >= 0) & (shares <= 1)).all():
        raise InputError(
            f"{path}: no profile of a detector ({', '.join(wrong) or 'values out of range'}); learn it again with "
            "`refit-mv train detector`"
        )
