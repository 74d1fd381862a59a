"""Where the keypoints of every view lie in a folder: a folder of files for each view, a file for each, or one file of
all."""

from collections.abc import Sequence
from pathlib import Path

from refit_mv.errors import InputError
from refit_mv.session.detection_record import RECORD_NAME
from refit_mv.session.keypoints.deeplabcut import SCORER
from refit_mv.session.keypoints.freemocap import load_array

# The endings of files that hold a whole view; of several files with one name the first ending counts.
SUFFIXES = (".h5", ".csv", ".json", ".npy", ".pkl", ".pickle")
# Arrays of a tracker's other results, and of boards, that lie beside the keypoints.
_NO_KEYPOINTS = ("3d", "charuco", "reprojection", "confidence")


def _view_of(path: Path) -> str:
    """The view that a file is called after; DeepLabCut appends its network to a video's name, OpenCap what it did."""
    return SCORER.sub("", path.stem).removesuffix("_2d").removesuffix("_rotated_pp")


def _folders(entries: Sequence[Path]) -> dict[str, Path]:
    """An empty ``…_json`` folder counts too, so that it is reported and not overlooked."""
    return {
        path.name.removesuffix("_json"): path
        for path in entries
        if path.is_dir()
        and (path.name.endswith("_json") or any(inside.name.lower().endswith(".json") for inside in path.iterdir()))
    }


def _files(entries: Sequence[Path], alone: bool) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for suffix in SUFFIXES:
        for path in entries:
            if path.suffix.lower() != suffix or path.name == RECORD_NAME or not path.is_file():
                continue
            scored = SCORER.search(path.stem) is not None
            # DeepLabCut keeps what it computed on the way in pickles beside its results.
            if (scored and suffix.startswith(".p")) or not (scored or alone):
                continue
            if suffix == ".npy" and any(word in path.name.lower() for word in _NO_KEYPOINTS):
                continue
            other = found.setdefault(_view_of(path), path)
            if other.suffix == path.suffix and other != path:
                raise InputError(
                    f"two keypoint files of one view: {other.name} and {path.name} in {path.parent}; keep one"
                )
    return found


def _cameras(path: Path, videos: Sequence[str]) -> dict[str, Path]:
    """The views of a file with all of them, in the order of the videos' names; without videos they have numbers."""
    count = len(load_array(path))
    if videos and len(videos) != count:
        raise InputError(
            f"{path} has the keypoints of {count} cameras, but there are {len(videos)} videos: {videos[0]}, …"
        )
    names = sorted(videos) if videos else [f"cam_{index}" for index in range(count)]
    return {name: path / str(index) for index, name in enumerate(names)}


def keypoint_places(folder: Path, videos: Sequence[str] = (), alone: bool = True) -> dict[str, Path]:
    """A folder or file for each view, by the name that it gives the view (``cam01_json``, ``cam01.h5`` and
    ``cam01DLC_….csv`` are ``cam01``): of folders with JSON files in them or, where there are none, of files that each
    hold a view. Of a file with all views (FreeMoCap's) every camera has a place in it, by the names of ``videos``.
    Where files do not lie ``alone`` but among others, only DeepLabCut's are known by their names.

    Raises:
        InputError: a folder that may not be read, two files of one view, a file with more or fewer views than videos.
    """
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        folders = _folders(entries)
        files = {} if folders else _files(entries, alone)
    except OSError as error:
        raise InputError(f"cannot read keypoint folder {error.filename or folder}: {error.strerror}") from None
    if len(files) == 1:
        (path,) = files.values()
        if path.suffix.lower() == ".npy" and load_array(path).ndim == 4:
            return _cameras(path, videos)
    return folders or files
