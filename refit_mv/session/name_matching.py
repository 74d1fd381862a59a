"""Which view belongs to which camera, by name.

Files sort names in their own ways, so order proves nothing. Names are compared ever more loosely, and only a comparison
under which every view has exactly one camera of its own counts. Where two loose comparisons disagree, none counts:
a wrong pair gives a wrong motion that looks right.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from refit_mv.errors import InputError

NOISE_WORDS = ("camera", "cam", "view", "port", "c")
# Numbers shorter than a serial number count takes and people as often as cameras.
SHORTEST_SERIAL = 4
# Longer lists of names are cut in messages.
MOST_NAMES = 16
Words = tuple[str, ...]


@dataclass(frozen=True)
class NameMatch:
    """``cameras`` maps view to camera name; ``note`` says what was paired where the names are not the same."""

    cameras: dict[str, str]
    note: str | None = None


def _plain(name: str) -> str:
    """Without case and separators: ``Cam_01`` is ``cam01``."""
    return re.sub(r"[\W_]", "", name.casefold())


def _number(name: str) -> str:
    """Without a leading word for "camera" and without leading zeros: ``cam_01``, ``camera1`` and ``1`` are one."""
    plain = _plain(name)
    for word in NOISE_WORDS:
        rest = plain.removeprefix(word)
        if rest != plain and rest[:1].isdigit():
            plain = rest
            break
    return re.sub(r"(?<!\d)0+(?=\d)", "", plain)


def _words(name: str) -> Words:
    """The words and numbers of a name, every word for "camera" the same: ``Camera_000_img`` is cam, 0, img."""
    found = re.findall(r"[^\W\d_]+|\d+", name.casefold())
    return tuple(
        "cam" if word in NOISE_WORDS else re.sub(r"^0+(?=\d)", "", word) if word.isdigit() else word for word in found
    )


def _shared(names: Sequence[Words]) -> int:
    """How many words all names begin with."""
    count = 0
    while len({words[: count + 1] for words in names}) == 1 and all(len(words) > count for words in names):
        count += 1
    return count


def _stripped(names: Sequence[Words], to_number: bool) -> list[Words]:
    """Names without the words that all begin and end with. The word before what differs says what is counted and stays,
    except ``to_number``."""
    if len(names) < 2:
        return list(names)
    first = _shared(names)
    if not to_number and first and all(words[first : first + 1] and words[first][0].isdigit() for words in names):
        first -= 1
    ends = [words[first:][::-1] for words in names]
    last = _shared(ends)
    return [words[last:][::-1] for words in ends]


def _within(part: Words, whole: Words) -> bool:
    return any(whole[start : start + len(part)] == part for start in range(len(whole) - len(part) + 1))


def _tells(words: Words) -> bool:
    """Whether the words name something by themselves, as a lone short number does not."""
    return len(words) > 1 or (len(words) == 1 and (not words[0].isdigit() or len(words[0]) >= SHORTEST_SERIAL))


def _one_to_one(
    views: Sequence[str], cameras: Sequence[str], fits: Callable[[int, int], bool]
) -> dict[str, str] | None:
    """The pairs, if every view fits exactly one camera and no two views the same."""
    found = [[camera for column, camera in enumerate(cameras) if fits(row, column)] for row in range(len(views))]
    if not all(len(names) == 1 for names in found) or len({names[0] for names in found}) < len(views):
        return None
    return {view: names[0] for view, names in zip(views, found, strict=True)}


def _by_key(views: Sequence[str], cameras: Sequence[str], key: Callable[[str], str]) -> dict[str, str] | None:
    left, right = [key(view) for view in views], [key(camera) for camera in cameras]
    return _one_to_one(views, cameras, lambda row, column: left[row] != "" and left[row] == right[column])


def _by_words(views: Sequence[str], cameras: Sequence[str]) -> Iterator[dict[str, str] | None]:
    """Pairs of names of which one holds the other, and of names that are equal without what all of their side share."""
    left, right = [_words(view) for view in views], [_words(camera) for camera in cameras]
    bare, other = _stripped(left, False), _stripped(right, False)
    for here, there in ((left, right), (bare, other)):
        yield _one_to_one(views, cameras, lambda i, k: _tells(there[k]) and _within(there[k], here[i]))  # noqa: B023
        yield _one_to_one(views, cameras, lambda i, k: _tells(here[i]) and _within(here[i], there[k]))  # noqa: B023
    # A number that is the whole name of the other side.
    bare, other = _stripped(left, True), _stripped(right, True)
    yield _one_to_one(views, cameras, lambda i, k: len(bare[i]) == 1 and bare[i] == right[k])
    yield _one_to_one(views, cameras, lambda i, k: len(other[k]) == 1 and left[i] == other[k])


def match_names(
    views: Sequence[str],
    cameras: Sequence[str],
    what: str = "view",
    where: str = "the calibration",
    sections: Mapping[str, str] | None = None,
    mapping: Mapping[str, str] | None = None,
) -> NameMatch:
    """The camera of every view. Cameras may be left over.

    ``what`` and ``where`` name the two sides in messages. ``sections`` are other exact names of cameras (a file's
    section names), ``mapping`` gives views their cameras by hand; views that it does not name are matched with the
    cameras that it leaves.

    Raises:
        InputError: a view with no camera or with several, two views with one camera, or comparisons that disagree.
    """
    sections = dict(sections or {})
    given = _given(views, cameras, sections, mapping or {}, where)
    rest = [view for view in views if view not in given]
    free = [camera for camera in cameras if camera not in given.values()]
    exact = _by_key(rest, free, str)
    if exact is not None:
        return NameMatch({view: given.get(view) or exact[view] for view in views})
    loose = [_by_key(rest, free, _plain), _by_key(rest, free, _number), *_by_words(rest, free)]
    # A view that is called like one camera and like another one's section tells nothing.
    if all(sections.get(view) in free and (view not in cameras or sections[view] == view) for view in rest):
        loose.append({view: sections[view] for view in rest})
    found = [pairs for index, pairs in enumerate(loose) if pairs is not None and pairs not in loose[:index]]
    if len(found) != 1:
        raise InputError(_refusal(rest, free, found, what, where))
    pairs = {view: given.get(view) or found[0][view] for view in views}
    listed = _listed([f"{view} = {pairs[view]}" for view in rest])
    return NameMatch(pairs, f"{what}s paired with {where} by similar names: {listed}; if that is wrong, give --map")


def _given(
    views: Sequence[str], cameras: Sequence[str], sections: Mapping[str, str], mapping: Mapping[str, str], where: str
) -> dict[str, str]:
    """The part of the mapping that is about these views, with the cameras' own names."""
    given: dict[str, str] = {}
    for view, name in mapping.items():
        camera = name if name in cameras else sections.get(name)
        if camera is None:
            raise InputError(f"--map {view}={name}: no such camera in {where}; there are {_listed(cameras)}")
        if view in views:
            if camera in given.values():
                raise InputError(f"--map gives camera {camera} to two views; each view has its own")
            given[view] = camera
    return given


def _refusal(
    views: Sequence[str], cameras: Sequence[str], found: Sequence[Mapping[str, str]], what: str, where: str
) -> str:
    if found:
        view = next(view for view in views if found[0][view] != found[1][view])
        reason = f"{view} could be {found[0][view]} or {found[1][view]}"
    else:
        loose = [_number(camera) for camera in cameras]
        lonely = [view for view in views if _number(view) not in loose]
        reason = f"no camera for {what} {_listed(lonely)}" if lonely else "the names do not pair one to one"
    return (
        f"cannot match {what}s to cameras: {reason}; {what}s: {_listed(views)}; cameras in {where}: "
        f"{_listed(cameras)}; say which is which with --map {views[0]}=CAMERA (once for each), or give the calibration "
        "of these cameras with --calib"
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
