"""FreeMoCap's arrays: cameras × frames × points × (x, y, …) of all views in one ``.npy`` file, its cameras in the order
of the synchronised videos' names; or the frames × points × (x, y, …) of one view.

A camera of such a file has the path ``<file>/<index>``, as if the file were a folder of cameras.
"""

from pathlib import Path

import numpy as np

from refit_mv.body.keypoint_sets import KeypointSet, keypoint_set
from refit_mv.errors import InputError
from refit_mv.files import regular_file
from refit_mv.session.keypoints.series import KeypointSeries, series_of_array

# The trackers whose points continue after the body's with hands and face: how many of them are its, in which order.
_BODIES = {"mediapipe": "blazepose33", "openpose": "body25"}
MOST_BYTES = 2**33


def load_array(path: Path) -> np.ndarray:
    """The array of a file, left on the disk: 3 axes for one view, 4 for several.

    Raises:
        InputError: no plain file, no array of numbers, other axes.
    """
    regular_file(path, "keypoint file", MOST_BYTES)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # the header is Python, and what reads it raises what Python's own parser does
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"keypoint file {path} is no readable array ({reason}); run the tracker again") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf":
        raise InputError(f"keypoint file {path} holds no numbers; expected cameras × frames × points × (x, y)")
    if array.ndim not in (3, 4) or array.shape[-1] not in (2, 3) or 0 in array.shape:
        raise InputError(
            f"keypoint file {path} has the shape {array.shape}; expected (cameras,) frames × points × (x, y)"
        )
    return array


def read(path: Path, camera: int | None = None) -> KeypointSeries:
    """One view's people: one in every frame, NaN where a point was not seen.

    Raises:
        InputError: as :func:`load_array`, no such camera, infinite numbers.
    """
    array = load_array(path)
    if (array.ndim == 4) != (camera is not None) or (camera is not None and camera >= len(array)):
        raise InputError(f"keypoint file {path} has the shape {array.shape}; expected one view's in this place")
    tracker = next((name for name in _BODIES if name in path.name.lower()), None)
    keypoints: KeypointSet | None = keypoint_set(_BODIES[tracker]) if tracker is not None else None
    if keypoints is not None and array.shape[-2] < len(keypoints):
        keypoints = None
    rows = np.array(array if camera is None else array[camera], dtype=np.float64)
    if keypoints is not None:
        rows = rows[:, : len(keypoints)]
    pixels, third = rows[..., :2], rows[..., 2:]
    confidence = np.ones_like(pixels[..., :1])
    # A third number between 0 and 1 is a confidence, any other a depth.
    if third.size and not np.isnan(third).all() and np.nanmin(third) >= 0 and np.nanmax(third) <= 1:
        confidence = third
    rows = np.concatenate([pixels, confidence], axis=-1)[:, None]
    return series_of_array(path, tuple(range(len(rows))), rows, keypoints)
