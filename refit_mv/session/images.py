"""A folder of images as a source of frames."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Int, UInt8

from refit_mv.errors import InputError
from refit_mv.session.frame_files import FrameFiles, list_frame_files

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def _read_image(path: str, upright: bool = True) -> UInt8[np.ndarray, "height width 3"]:
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise InputError(f"cannot read image {path}: {error.strerror}") from None
    # Decoding from memory reads paths of any alphabet, and this flag turns photographs upright as their EXIF data says.
    flags = cv2.IMREAD_COLOR if upright else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(data, flags) if data.size else None
    except cv2.error:
        image = None  # more pixels than OpenCV takes
    if image is None:
        raise InputError(f"cannot decode image {path} ({data.size} bytes): empty, damaged or not an image")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]


@dataclass(frozen=True)
class ImageFolder:
    """Images of one view, all of one size, in the order of the numbers in their names. ``upright`` turns them as they
    ask for; without it they are as stored."""

    files: FrameFiles
    upright: bool = True

    @property
    def path(self) -> Path:
        return self.files.folder

    @property
    def fps(self) -> None:
        """Images carry no rate."""
        return None

    @property
    def quarter_turns(self) -> int:
        """1 where the first image asks to be turned by a quarter, to either side; half turns are not told (0)."""
        height, width, _ = _read_image(self.files.path(0), not self.upright).shape
        return int((width, height) != self.size)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, of the first image."""
        return self._size

    @cached_property
    def _size(self) -> tuple[int, int]:
        height, width, _ = _read_image(self.files.path(0), self.upright).shape
        return width, height

    @property
    def count(self) -> int:
        return len(self.files)

    @property
    def frame_numbers(self) -> Int[np.ndarray, " count"]:
        return np.array(self.files.numbers, dtype=np.int64)

    @property
    def warnings(self) -> tuple[str, ...]:
        return self.files.warnings

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        """RGB images from position ``start`` up to but not including ``stop`` (positions from 0, not file numbers).

        Raises:
            InputError: an image that cannot be decoded or is of another size than the first.
        """
        for position in range(start, self.count if stop is None else min(stop, self.count)):
            image = _read_image(self.files.path(position), self.upright)
            if image.shape[1::-1] != self.size:
                raise InputError(
                    f"image {self.files.path(position)} is {image.shape[1]}×{image.shape[0]}, the first of its "
                    "folder is"
                    f" {self.size[0]}×{self.size[1]}; all images of a view must have one size"
                )
            yield image


def open_images(folder: Path, upright: bool = True) -> ImageFolder:
    """Images of a folder; ``upright`` False: as they are stored.

    Raises:
        InputError: no images, no numbers in their names, or a number twice.
    """
    return ImageFolder(list_frame_files(folder, IMAGE_SUFFIXES, "image"), upright)
