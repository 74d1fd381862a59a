"""How recording folders are laid out: Pose2Sim's, EasyMocap's and the plain one. A new layout is a row of
``LAYOUTS``."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from refit_mv.errors import InputError
from refit_mv.files import found_at
from refit_mv.session.images import IMAGE_SUFFIXES
from refit_mv.session.keypoint_places import keypoint_places
from refit_mv.session.video import VIDEO_SUFFIXES


@dataclass(frozen=True)
class Layout:
    """Where a kind of session keeps things, relative to its folder; of several places the first that exists counts.

    ``markers`` are glob patterns of which one must match for the layout to be recognised; ``videos`` are folders with
    one file per view, ``images`` folders with one folder per view, ``keypoints`` with one folder or file per view.
    Files of ``keypoints`` before ``numbered_as_pictures`` may be renumbered; those in it have the pictures' numbers.
    """

    name: str
    markers: tuple[str, ...]
    videos: tuple[str, ...]
    images: tuple[str, ...]
    keypoints: tuple[str, ...]
    numbered_as_pictures: str | None = None


# The order matters: a Pose2Sim folder would pass as a plain one.
LAYOUTS = (
    Layout(
        "FreeMoCap",
        ("output_data/raw_data/*2[dD]*.npy", "DataArrays/*2[dD]*.npy"),
        ("synchronized_videos", "SyncedVideos"),
        (),
        ("output_data/raw_data", "DataArrays"),
    ),
    Layout("Anipose", ("pose-2d*/*",), ("videos-raw",), (), ("pose-2d-filtered", "pose-2d")),
    Layout("EasyMocap", ("annots/*/*.json", "intri.yml"), ("videos",), ("images",), ("annots",)),
    # As its own triangulation chooses (Pose2Sim 0.10): the people it associated, else the copies that it renumbered to
    # be in step, else what the detector saw.
    Layout(
        "Pose2Sim",
        ("pose*/*_json", "Config.toml", "[Cc]alib*/*"),
        ("videos",),
        ("images",),
        ("pose-associated", "pose-sync", "pose"),
        "pose",
    ),
    Layout(
        "plain",
        ("videos/*", "images/*", "keypoints/*", "*_json", "*.*"),
        ("videos", "."),
        ("images",),
        ("keypoints", "pose", "."),
    ),
)


@dataclass(frozen=True)
class FoundFiles:
    """What lies in a session folder, by the names that the files give the views.

    ``keypoints`` may be numbered unlike the pictures where ``renumbered``; ``originals`` are then the same detections
    under the pictures' numbers.
    """

    layout: str
    videos: Mapping[str, Path]
    images: Mapping[str, Path]
    keypoints: Mapping[str, Path]
    warnings: tuple[str, ...]
    renumbered: bool = False
    originals: Mapping[str, Path] = field(default_factory=dict)


def _videos(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in VIDEO_SUFFIXES or path.name.startswith(".") or path.is_dir():
            continue
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is a pipe or a device; give video files")
        if path.stem in found:
            raise InputError(f"two videos of one view: {found[path.stem].name} and {path.name} in {folder}; keep one")
        found[path.stem] = path
    return found


def _holds(folder: Path, suffixes: tuple[str, ...]) -> bool:
    return any(path.name.lower().endswith(suffixes) for path in folder.iterdir())


def _filled(place: Path) -> bool:
    return not place.is_dir() or _holds(place, (".json",))


def view_folders(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Folders with files of these suffixes directly inside ``folder``, by view name (``cam01_json`` is ``cam01``).

    An empty ``…_json`` folder counts too, so that it is reported and not overlooked.
    """
    return {
        path.name.removesuffix("_json"): path
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith(".") and (path.name.endswith("_json") or _holds(path, suffixes))
    }


def _refuse_bytes(names: Iterable[str], session: Path) -> None:
    for name in names:
        if name.encode("utf-8", "replace").decode() != name:
            shown = name.encode("utf-8", "backslashreplace").decode()
            raise InputError(f"{session}: the name of view {shown} is not UTF-8 text; rename its files")


def find_files(session: Path) -> FoundFiles:
    """Recognise a session folder's layout and list what it holds per view.

    Raises:
        InputError: no such folder, or nothing usable in it.
    """
    found_at(session)  # refuses what cannot be looked at
    if not session.is_dir():
        raise InputError(f"no session folder {session}" + (" (it is a file)" if session.exists() else ""))
    for layout in LAYOUTS:
        if not any(next(session.glob(marker), None) for marker in layout.markers):
            continue
        video_places = [session / name for name in layout.videos if (session / name).is_dir()]
        videos = next(filter(None, map(_videos, video_places)), {})
        places = [session / name for name in layout.images if (session / name).is_dir()]
        images = next(filter(None, (view_folders(place, IMAGE_SUFFIXES) for place in places)), {})
        found = [
            (name, keypoint_places(session / name, tuple(videos), alone=name != "."))
            for name in layout.keypoints
            if (session / name).is_dir()
        ]
        found = [(name, folders) for name, folders in found if folders]
        # Tools make their folders before they fill them.
        found = [each for each in found if any(map(_filled, each[1].values()))] or found
        if not found:  # DeepLabCut writes beside the videos
            found = [(place.name, keypoint_places(place, alone=False)) for place in video_places]
            found = [(name, folders) for name, folders in found if folders][:1]
        place, keypoints = found[0] if found else ("", {})
        if not (videos or images or keypoints):
            continue
        warnings = ()
        if len(found) > 1 and place != ".":
            listed = " and ".join(name for name, _ in found)
            warnings = (f"{session} has keypoints in {listed}: those in {place} are used",)
        _refuse_bytes((*videos, *images, *keypoints), session)
        numbered = layout.numbered_as_pictures
        renumbered = numbered is not None and place != numbered and place in layout.keypoints
        originals = dict(found).get(numbered, {}) if renumbered and numbered is not None else {}
        return FoundFiles(layout.name, videos, images, keypoints, warnings, renumbered, originals)
    inside = sorted(
        {
            path.parent
            for depth in ("*", "*/*")
            for kind in ("videos", "pose", "annots")
            for path in session.glob(f"{depth}/{kind}")
        }
    )
    if inside:
        listed = ", ".join(str(path.relative_to(session)) for path in inside[:3])
        raise InputError(f"{session} is no recording itself, but holds {len(inside)}: {listed}; give one of them")
    present = ", ".join(sorted(path.name for path in session.iterdir())[:5]) or "nothing"
    raise InputError(
        f"{session} is no recording: found {present}; expected videos/<camera>.mp4, images/<camera>/000000.jpg,"
        " pose/<camera>_json/<camera>_000000.json or annots/<camera>/000000.json"
    )
