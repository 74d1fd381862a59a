"""The rules of who is followed."""

from dataclasses import dataclass

from refit_mv.errors import InputError
from refit_mv.ranges import MOST, require_not_negative, require_positive, require_share, whole_number


@dataclass(frozen=True)
class PeopleOptions:
    """The rules, in seconds of the recording, metres and shares.

    ``confirm_frames``: somebody new counts once two views have agreed on them in so many frames. ``lost``: whom no view
    shows for longer is followed no more, but may come back within ``absence``. ``alone``: so long one view alone is
    believed, if two have agreed for as long. ``ghost``: whom two views never agree on for so long without a break is
    dropped, or in less than a share ``agreement`` of their frames. So are rays of different people that meet by chance:
    limbs change their lengths by more than ``scatter``, or less than ``shown`` of the views in whose pictures somebody
    stands show them. Who has been there for ``still_after`` and moved no farther than ``still_reach`` and their own
    trembling is a statue, and left out, unless they are supported at least ``still_share`` as well as the best (0:
    nobody is left out). ``separate``: every frame is a moment of its own, as are frames farther than ``lost`` from both
    neighbours in any case. ``recognise``: whom one view alone shows in such a moment is taken for whoever is found
    there in others. ``look_again``: with pictures at hand, a detector that takes crops is asked for whom it missed,
    and looks again where the fitted bodies are, ``closer_looks`` times. ``contact``: people whose bodies overlap give
    way to one another. ``feet``: feet that stand are held where they stand, and above the floor, whose height along
    what is up (metres) is ``floor``; None: where feet say.
    """

    confirm_frames: int = 4
    lost: float = 0.5
    alone: float = 1.0
    absence: float = 10.0
    ghost: float = 0.25
    agreement: float = 0.5
    scatter: float = 0.15
    shown: float = 0.35
    still_after: float = 1.5
    still_reach: float = 0.03
    # A skeleton on a stand had 0.32 in one real recording, a man who stood behind two others 0.55 in another.
    still_share: float = 0.45
    separate: bool = False
    recognise: bool = True
    look_again: bool = True
    closer_looks: int = 1
    contact: bool = True
    feet: bool = True
    floor: float | None = None

    def __post_init__(self) -> None:
        require_positive(self, "confirm_frames", "lost", "scatter", "still_after")
        require_not_negative(self, "closer_looks", "alone", "absence", "ghost", "still_reach")
        require_share(self, "agreement", "shown", "still_share")
        if self.floor is not None and not abs(self.floor) <= MOST:
            raise InputError(f"people.floor: expected metres, got {self.floor}")


def most_people(wanted: str | int) -> int | None:
    """How many people at most are followed: None for "auto", one for "main", or the number.

    Raises:
        InputError: neither of these.
    """
    if wanted == "auto":
        return None
    number = 1 if wanted == "main" else whole_number(str(wanted))
    if not number:
        raise InputError(f"--people {wanted!s:.40}: expected auto, main, or a number from 1 on, for example 2")
    return number
