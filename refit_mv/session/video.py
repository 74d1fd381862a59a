"""Video files: frames by their exact index, and writing H.264.

A frame's index is its place in display order. The packets' time stamps give that order without decoding; reading from
the middle decodes from the nearest key frame before and picks frames by time stamp, so B-frames and rough seeking
cannot shift the result.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from jaxtyping import Int, UInt8

from refit_mv.errors import InputError
from refit_mv.files import complete_or_absent

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".m4v", ".webm", ".mpg", ".mpeg", ".mts", ".wmv")
# A step between frames that differs from the usual one by more than this share is a dropped or a variable frame, not
# rounding.
UNEVEN_STEP = 0.5
# Visually lossless for overlays, at a third of the size of 18.
CRF = "20"


@runtime_checkable
class FrameSource(Protocol):
    """Frames of one view, from a video or a folder of images."""

    @property
    def path(self) -> Path: ...
    @property
    def fps(self) -> float | None:
        """Frames per second, or None where the source does not say."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels of the pictures that ``frames`` gives."""
        ...

    @property
    def count(self) -> int: ...
    @property
    def frame_numbers(self) -> Int[np.ndarray, " count"]:
        """The source's own number of each frame: the index in a video, the number in an image's file name."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]: ...
    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        """RGB frames from position ``start`` up to but not including ``stop``."""
        ...


@dataclass(frozen=True)
class _Header:
    stored_size: tuple[int, int]
    fps: float | None
    quarter_turns: int
    frames: int


@dataclass(frozen=True)
class _Index:
    """Display times of the frames and of the key frames among them, ascending, in the stream's time base. None: the
    file has no usable times."""

    times: tuple[int, ...] | None
    key_times: tuple[int, ...]
    count: int
    uneven: bool


@dataclass(frozen=True)
class VideoFile:
    """A video that can be read from any frame. Properties that need the whole file scanned (``count``, ``warnings``) do
    so once, without decoding. ``upright`` turns pictures as the file asks for; without it they are as stored."""

    path: Path
    header: _Header
    upright: bool = True

    @property
    def fps(self) -> float | None:
        return self.header.fps

    @property
    def quarter_turns(self) -> int:
        """By how many quarters the file asks to turn its pictures, counter-clockwise."""
        return self.header.quarter_turns

    @property
    def size(self) -> tuple[int, int]:
        width, height = self.header.stored_size
        return (height, width) if self.upright and self.quarter_turns % 2 else (width, height)

    @property
    def count(self) -> int:
        return self._index.count

    @property
    def frame_numbers(self) -> Int[np.ndarray, " count"]:
        return np.arange(self.count, dtype=np.int64)

    @property
    def warnings(self) -> tuple[str, ...]:
        found = []
        if self.header.frames > self.count:
            found.append(
                f"{self.path}: only {self.count} of {self.header.frames} frames can be read; the file looks cut "
                "off, the rest is treated as missing"
            )
        if self._index.uneven:
            found.append(
                f"{self.path}: frames are not evenly spaced in time (variable rate or dropped frames);"
                " give timestamps.csv, or re-encode at a constant rate, if views drift apart"
            )
        return tuple(found)

    @cached_property
    def _index(self) -> _Index:
        times: list[int | None] = []
        keys: list[int] = []
        with _opened(self.path) as container:
            try:
                for packet in container.demux(container.streams.video[0]):
                    # Discarded packets only feed the decoder (edit lists); an empty packet marks the end.
                    if packet.size == 0 or packet.is_discard or packet.is_corrupt:
                        continue
                    times.append(packet.pts)
                    if packet.is_keyframe and packet.pts is not None:
                        keys.append(packet.pts)
            except FFmpegError:
                pass  # a cut-off file: what was found counts, and `warnings` tells
        if not times:
            raise InputError(f"video {self.path} holds no readable frame; record or copy it again")
        known = sorted(time for time in times if time is not None)
        if len(known) != len(times) or len(set(known)) != len(known):
            return _Index(None, (), len(times), False)
        if self.header.frames > len(known):
            known = self._decodable(known)
        steps = np.diff(known)
        uneven = len(steps) > 0 and bool((np.abs(steps - np.median(steps)) > UNEVEN_STEP * np.median(steps)).any())
        return _Index(tuple(known), tuple(sorted(keys)), len(known), uneven)

    def _decodable(self, times: list[int]) -> list[int]:
        """The frames of a cut-off file up to its first gap. Later ones may be there (packets are stored in decoding
        order), but not at their index."""
        step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
        good: list[int] = []
        with _opened(self.path) as container:
            try:
                for frame, time in zip(_threaded(container), times, strict=False):
                    if frame.pts != time or (good and time - good[-1] > (1 + UNEVEN_STEP) * step):
                        break
                    good.append(time)
            except FFmpegError:
                pass  # the cut-off end
        return good

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        """RGB frames ``start`` … ``stop - 1`` in display order.

        Raises:
            InputError: a frame that cannot be decoded, naming it.
        """
        stop = self.count if stop is None else min(stop, self.count)
        if start >= stop:
            return
        position, turns = start, self.quarter_turns if self.upright else 0
        try:
            for frame in self._decoded(start, stop):
                yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))
                position += 1
        except FFmpegError as error:
            raise InputError(
                f"video {self.path}: frame {position} of {self.count} cannot be decoded ({error.strerror}); "
                "re-encode it"
            ) from None
        if position < stop:
            raise InputError(
                f"video {self.path}: frame {position} of {self.count} cannot be decoded; re-encode the video"
            )

    def _decoded(self, start: int, stop: int) -> Iterator[av.VideoFrame]:
        times = self._index.times
        if times is None:
            with _opened(self.path) as container:
                yield from itertools.islice(_threaded(container), start, stop)
            return
        # The nearest key frame nearly always serves; frames that refer back beyond it (open groups of pictures) need an
        # earlier one.
        before = [time for time in self._index.key_times if time <= times[start]]
        starts = [*dict.fromkeys([*before[-1:-3:-1], None])] if before else [None]
        for key in starts:
            with _opened(self.path) as container:
                if key is not None:
                    container.seek(key, stream=container.streams.video[0])
                decoded = (
                    frame for frame in _threaded(container) if frame.pts is not None and frame.pts >= times[start]
                )
                first = next(decoded, None)
                if first is None or first.pts != times[start]:
                    continue
                for frame, time in zip(itertools.chain([first], decoded), times[start:stop], strict=False):
                    if frame.pts != time:
                        return  # a frame is missing in the middle: the caller says which
                    yield frame
                return


def _threaded(container: InputContainer) -> Iterator[av.VideoFrame]:
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    return container.decode(stream)


def _opened(path: Path) -> InputContainer:
    try:
        return av.open(str(path))
    except (FFmpegError, OSError) as error:
        raise InputError(
            f"cannot open video {path}: {getattr(error, 'strerror', error)}; check that it plays, or re-encode it "
            "to H.264 .mp4"
        ) from None


def open_video(path: Path, upright: bool = True) -> VideoFile:
    """Open a video; reads its header and first frame only. ``upright`` False: pictures as they are stored.

    Raises:
        InputError: no such file, not a video, no video stream, nothing to decode.
    """
    if not path.is_file():
        raise InputError(f"no video {path}")
    with _opened(path) as container:
        if not container.streams.video:
            raise InputError(f"{path} has no video stream (sound only?)")
        stream = container.streams.video[0]
        try:
            first = next(container.decode(stream), None)
        except FFmpegError as error:
            raise InputError(
                f"video {path}: its first frame cannot be decoded ({error.strerror}); re-encode it"
            ) from None
        if first is None:
            raise InputError(f"video {path} has no frames")
        # FFmpeg's angle turns the stored picture counter-clockwise, as numpy.rot90 does.
        turns = round(first.rotation / 90) % 4
        rate = stream.average_rate or stream.guessed_rate
        header = _Header((first.width, first.height), float(rate) if rate else None, turns, stream.frames)
        return VideoFile(path, header, upright)


def write_video(path: Path, frames: Iterable[UInt8[np.ndarray, "height width 3"]], fps: float | int) -> None:
    """Write RGB frames as H.264 (yuv420p, playable everywhere). Odd sizes grow by one pixel, repeated from the edge.

    The file appears under its name only when it is complete.

    Raises:
        InputError: the file cannot be written.
        ValueError: no frames, or frames of different sizes.
    """
    with complete_or_absent(path) as temporary:
        try:
            _encode(temporary, frames, fps)
        except FFmpegError as error:
            raise InputError(f"cannot write video {path}: {error.strerror}") from None


def _encode(path: Path, frames: Iterable[UInt8[np.ndarray, "height width 3"]], fps: float | int) -> None:
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = None
        for image in frames:
            height, width, _ = image.shape
            if stream is None:
                rate = Fraction(fps).limit_denominator(1001)
                stream = container.add_stream("libx264", rate=rate, options={"crf": CRF, "preset": "fast"})
                stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
            padded = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            if padded.shape[:2] != (stream.height, stream.width):
                raise ValueError(f"frame of {width}×{height} in a video of {stream.width}×{stream.height}")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")))
        if stream is None:
            raise ValueError("no frames to write")
        container.mux(stream.encode())
