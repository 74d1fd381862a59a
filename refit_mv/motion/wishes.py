"""What somebody who takes a motion over wishes of its files: rate, vertical, names of joints."""

from dataclasses import dataclass

from refit_mv.errors import InputError
from refit_mv.motion.formats import Format
from refit_mv.motion.motion import Y_UP, Z_UP, Motion, resample, turned_up
from refit_mv.motion.rest_pose import REST_POSES, rested
from refit_mv.motion.vocabularies import renamed, vocabulary

_UPS = {"y": Y_UP, "z": Z_UP}


@dataclass(frozen=True)
class Wishes:
    """``fps``: frames per second (None: the motion's own). ``up``: "y" or "z" (None: what is customary in the format,
    else the world as it was calibrated). ``names``: of joints, a known vocabulary or a YAML file. ``rest``: the pose in
    which skeletons are bare, "t" or "a".

    Raises:
        InputError: no such direction, names or pose.
    """

    fps: float | None = None
    up: str | None = None
    names: str = "smpl"
    rest: str = "t"

    def __post_init__(self) -> None:
        if self.up is not None and self.up not in _UPS:
            raise InputError(f"up must be one of {', '.join(_UPS)}, got '{self.up}'")
        if self.rest not in REST_POSES:
            raise InputError(f"rest must be one of {', '.join(REST_POSES)}, got '{self.rest}'")
        vocabulary(self.names)

    def at_rate(self, motion: Motion) -> Motion:
        """The motion at the wished rate, which is the same for all formats; at its own, every frame stays as it is."""
        return motion if self.fps is None or self.fps == motion.fps else resample(motion, self.fps)

    def adapted(self, motion: Motion, kind: Format) -> Motion:
        """The motion as a file of that kind is to hold it: turned, and its joints named.

        Raises:
            InputError: nothing tells which way up is, so that the motion cannot be turned as wished.
        """
        up = kind.up if self.up is None or not kind.turns else _UPS[self.up]
        if self.up is not None and motion.up is None:
            raise InputError(
                f"nothing tells which way is up in {motion.name}'s world, so {self.up} cannot be made to point there; "
                "leave --up out, or say it in the calibration (docs/conventions.md) and fit again"
            )
        if up is not None and motion.up is not None:
            motion = turned_up(motion, up)
        return renamed(rested(motion, self.rest), vocabulary(self.names)) if kind.rigged else motion

    def rest_of(self, kind: Format) -> str:
        """The rest pose of a file of that kind, in words."""
        return REST_POSES[self.rest if kind.rigged else "t"]


def unmet(kinds: tuple[Format, ...], wishes: Wishes) -> tuple[str, ...]:
    """Sentences about wishes that formats have no room for."""
    wished = wishes.up and _UPS[wishes.up]
    fixed = [kind.name for kind in kinds if wished is not None and not kind.turns and kind.up != wished]
    bare = [kind.name for kind in kinds if not kind.rigged]
    options = ["--names"] * (wishes.names != "smpl") + ["--rest"] * (wishes.rest != "t")
    told = []
    if fixed:
        told.append(f"by definition the vertical is fixed in {', '.join(fixed)}: --up does not turn it there")
    if bare and options:
        told.append(f"{' and '.join(options)} {'do' if len(options) > 1 else 'does'} not apply to {', '.join(bare)}")
    return tuple(told)
