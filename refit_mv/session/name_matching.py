"""Which view belongs to which camera, by name.

Files sort names in their own ways, so order proves nothing. Names are compared ever more loosely, and only a comparison
under which every view has exactly one camera counts.
"""

import re
from collections.abc import Callable, Sequence

from refit_mv.errors import InputError

NOISE_WORDS = ("camera", "cam", "view", "port", "c")


def _exact(name: str) -> str:
    return name


def _plain(name: str) -> str:
    """Without case and separators: ``Cam_01`` is ``cam01``."""
    return re.sub(r"[^0-9a-z]", "", name.casefold())


def _number(name: str) -> str:
    """Without a leading word for "camera" and without leading zeros: ``cam_01``, ``camera1`` and ``1`` are one."""
    plain = _plain(name)
    for word in NOISE_WORDS:
        rest = plain.removeprefix(word)
        if rest != plain and rest[:1].isdigit():
            plain = rest
            break
    return re.sub(r"(?<!\d)0+(?=\d)", "", plain)


COMPARISONS: tuple[Callable[[str], str], ...] = (_exact, _plain, _number)


def match_names(
    views: Sequence[str], cameras: Sequence[str], what: str = "view", where: str = "the calibration"
) -> dict[str, str]:
    """The camera of every view, as a mapping from view name to camera name. Cameras may be left over.

    ``what`` and ``where`` name the two sides in messages.

    Raises:
        InputError: a view with no camera or with several, or two views with one camera, under every comparison.
    """
    for key in COMPARISONS:
        by_key: dict[str, list[str]] = {}
        for camera in cameras:
            by_key.setdefault(key(camera), []).append(camera)
        found = [by_key.get(key(view), []) for view in views]
        if all(len(names) == 1 for names in found) and len({names[0] for names in found}) == len(views):
            return {view: names[0] for view, names in zip(views, found, strict=True)}
    loose = [_number(camera) for camera in cameras]
    lonely = [view for view in views if _number(view) not in loose]
    reason = f"no camera for {what} {', '.join(lonely)}" if lonely else "the names do not pair one to one"
    raise InputError(
        f"cannot match {what}s to cameras: {reason}; {what}s: {', '.join(views)}; cameras in {where}: "
        f"{', '.join(cameras)};"
        " rename the folders or files, or give the calibration of these cameras with --calib"
    )
