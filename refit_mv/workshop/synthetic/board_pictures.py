"""Pictures of a board: every ray of a camera is followed back to the board's plane.

A pixel is the mean of ``SAMPLES``² rays through it, spread over the time that the shutter is open; each looks up the
board's picture, which is itself a mean over cells as large as what the ray stands for. So edges are where the lens puts
them, with pixel centres at whole numbers, whatever the lens.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from calib.board.board import Board
from calib.board.drawing import board_picture, quiet_zone
from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.geometry.projection import camera_bearings
from refit_mv.workshop.pictures.backdrop import draw_background

SAMPLES = 3
# Every so many pixels a ray is tried, to find where in the picture the board is.
TRIED = 8
# What paper and print reflect, and a hand.
WHITE, BLACK, BACK, HAND = 0.85, 0.05, 0.6, 0.4
# White around a board, in addition to what its detection needs, and room for the hands that hold it: metres.
SHEET, HANDS_REACH = 0.01, 0.06
# Cells of the board's picture where the board is closest: metres, or this share of a board that is larger than rooms.
FINEST, FINEST_SHARE = 0.0005, 1 / 4000
LEVELS = 5


@dataclass(frozen=True)
class Look:
    """What makes pictures unlike drawings. ``defocus`` is the blur's standard deviation (pixels) and ``shutter`` how
    long it is open (frames), both the most that is drawn; ``noise`` the sensor's, in grey levels of 255 in mid-grey;
    ``vignetting`` how much darker corners are; ``light`` how uneven the light on the board is; ``hands`` hold it at
    its sides and hide some of it.
    """

    defocus: float = 1.0
    shutter: float = 0.02
    noise: float = 2.5
    vignetting: float = 0.35
    light: float = 0.3
    hands: bool = True


CLEAN = Look(0.0, 0.0, 0.0, 0.0, 0.0, False)


@dataclass(frozen=True, eq=False)
class Sheet:
    """A board's pictures, each with cells twice as large as the one before: reflectance and opacity."""

    board: Board
    hands: bool

    @cached_property
    def margin(self) -> float:
        """Metres of white around the board."""
        return quiet_zone(self.board) + SHEET

    @cached_property
    def levels(self) -> tuple[Float[np.ndarray, "row column 2"], ...]:
        return tuple(self._level(self.finest * 2**level) for level in range(LEVELS))

    @property
    def finest(self) -> float:
        """Side in metres of a cell of the first picture."""
        return max(FINEST, FINEST_SHARE * max(self.board.size))

    @property
    def reach(self) -> float:
        """Metres around the board that its pictures show."""
        return self.margin + HANDS_REACH

    def _level(self, cell: float) -> Float[np.ndarray, "row column 2"]:
        drawn = board_picture(self.board, cell, self.reach)
        rows, columns = drawn.shape
        picture = np.empty((rows, columns, 2), np.float32)
        picture[..., 0] = BLACK + (WHITE - BLACK) * drawn
        across, down = ((np.arange(count) + 0.5) * cell - self.reach for count in (columns, rows))
        inside = [
            np.clip((np.minimum(at, length - at) + self.margin) / cell + 0.5, 0, 1)
            for at, length in ((across, self.board.size[0]), (down, self.board.size[1]))
        ]
        picture[..., 1] = inside[1][:, None] * inside[0]
        # Beyond the sheet the ground of the drawing goes on, unseen.
        if self.hands:
            for side, height in ((-self.margin, 0.55), (self.board.size[0] + self.margin, 0.45)):
                x, y = (across - side) / 0.055, (down - height * self.board.size[1]) / 0.045
                hand = np.clip((1 - np.hypot(y[:, None], x)) * 0.045 / cell + 0.5, 0, 1)
                picture[..., 0] += hand * (HAND - picture[..., 0])
                picture[..., 1] = np.maximum(picture[..., 1], hand)
        return picture


@dataclass(frozen=True, eq=False)
class Photographer:
    """One camera with its rays, its background and its sensor."""

    camera: Camera
    sheet: Sheet
    look: Look
    seed: int

    @property
    def size(self) -> tuple[int, int]:
        assert self.camera.size is not None
        return self.camera.size

    @cached_property
    def rays(self) -> Float[np.ndarray, "sample row column 3"]:
        """Directions in the camera's frame of the rays through each pixel."""
        width, height = self.size
        offsets = (np.arange(SAMPLES) + 0.5) / SAMPLES - 0.5
        rig = CameraRig((self.camera,)).stacked()
        found = np.empty((SAMPLES**2, height, width, 3), np.float32)
        for sample in range(SAMPLES**2):
            x, y = np.arange(width) + offsets[sample % SAMPLES], np.arange(height) + offsets[sample // SAMPLES]
            pixels = np.stack(np.meshgrid(x, y), axis=-1).reshape(1, -1, 2)
            direction, valid = camera_bearings(rig, torch.from_numpy(pixels))
            # Where the lens model ends nothing is seen: a ray that meets no plane.
            found[sample] = torch.where(valid[..., None], direction, 0.0).numpy().reshape(height, width, 3)
        return found

    @cached_property
    def ground(self) -> Float[np.ndarray, "row column"]:
        """What is behind the board, with the lens's own darkening."""
        colours = draw_background(self.size, np.random.default_rng([self.seed, 1]))
        grey = cv2.GaussianBlur(colours.mean(-1).astype(np.float32), (0, 0), 0.8)
        return (0.15 + 0.6 * grey) * self.darkening

    @cached_property
    def darkening(self) -> Float[np.ndarray, "row column"]:
        width, height = self.size
        x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
        return (1 - self.look.vignetting * (x * x + y * y) / 2).astype(np.float32)

    @cached_property
    def grain(self) -> Float[np.ndarray, "row column"]:
        """More than a picture of the sensor's noise, of which every picture takes a part: drawing is slow."""
        width, height = self.size
        return np.random.default_rng([self.seed, 2]).standard_normal((height + 97, width + 89), dtype=np.float32)

    def picture(
        self,
        cam_from_board: Float[np.ndarray, "sample 3 4"],
        rng: np.random.Generator,
    ) -> UInt8[np.ndarray, "row column"]:
        """The board at the ``SAMPLES``² places where it is while the shutter is open, in random order of time."""
        light = self.ground.copy()
        planes = np.linalg.inv(cam_from_board[:, :, [0, 1, 3]]).astype(np.float32)
        found = self._where(planes[len(planes) // 2])
        if found is not None:
            self._put(light, found, cam_from_board, planes, rng)
        noise = self.look.noise / 255
        if noise:
            rows, columns = (int(rng.integers(more)) for more in (97, 89))
            height, width = light.shape
            grain = self.grain[rows : rows + height, columns : columns + width]
            light = light + noise * np.sqrt(0.3 + 1.4 * light) * grain
        return np.clip(255 * light + 0.5, 0, 255).astype(np.uint8)

    def _where(self, plane: Float[np.ndarray, "3 3"]) -> tuple[slice, slice] | None:
        """Rows and columns in which the sheet can be seen."""
        width, height = self.size
        rays = self.rays[SAMPLES**2 // 2, ::TRIED, ::TRIED]
        x, y, ahead = _on_plane(rays, plane)
        reach, (wide, high) = self.sheet.reach, self.sheet.board.size
        hit = ahead & (x > -reach) & (y > -reach) & (x < wide + reach) & (y < high + reach)
        if not hit.any():
            return None
        rows, columns = np.flatnonzero(hit.any(1)), np.flatnonzero(hit.any(0))
        around = 2 * TRIED
        return (
            slice(max(TRIED * int(rows[0]) - around, 0), min(TRIED * int(rows[-1]) + around, height)),
            slice(max(TRIED * int(columns[0]) - around, 0), min(TRIED * int(columns[-1]) + around, width)),
        )

    def _put(
        self,
        light: Float[np.ndarray, "row column"],
        where: tuple[slice, slice],
        poses: Float[np.ndarray, "sample 3 4"],
        planes: Float[np.ndarray, "sample 3 3"],
        rng: np.random.Generator,
    ) -> None:
        """Lay the board over ``light`` in place."""
        board, reach = self.sheet.board, self.sheet.reach
        middle = poses[len(poses) // 2]
        depth = np.linalg.norm(middle[:, :3] @ [board.size[0] / 2, board.size[1] / 2, 0.0] + middle[:, 3])
        stands_for = depth / self.camera.focal / SAMPLES
        level = int(np.clip(np.floor(np.log2(max(stands_for / self.sheet.finest, 1))), 0, LEVELS - 1))
        cell, texture = self.sheet.finest * 2**level, self.sheet.levels[level]
        total = np.zeros((*light[where].shape, 2), np.float32)
        for rays, plane in zip(self.rays[(slice(None), *where)], planes, strict=True):
            x, y, ahead = _on_plane(rays, plane)
            x, y = ((at + np.float32(reach)) / np.float32(cell) - np.float32(0.5) for at in (x, y))
            x[~ahead] = -10
            total += _premultiplied(texture, x, y)
        total /= len(planes)
        # The camera in the board's frame: in front of the print, z is negative.
        behind = float(middle[:, 2] @ middle[:, 3]) < 0
        if behind:
            total[..., 0] = BACK * total[..., 1]
        x, y, _ = _on_plane(self.rays[(SAMPLES**2 // 2, *where)], planes[len(planes) // 2])
        slope = self.look.light * rng.uniform(-1, 1, 2) / max(board.size)
        uneven = 1 + slope[0] * (x - board.size[0] / 2) + slope[1] * (y - board.size[1] / 2)
        strength = rng.uniform(1 - self.look.light, 1.0)
        shade = (strength * np.clip(uneven, 0.3, 1.5)).astype(np.float32) * self.darkening[where]
        region = total[..., 0] * shade + (1 - total[..., 1]) * light[where]
        defocus = rng.uniform(0, self.look.defocus)
        light[where] = cv2.GaussianBlur(region, (0, 0), defocus) if defocus > 0.2 else region


def _premultiplied(
    texture: Float[np.ndarray, "row column 2"], x: Float[np.ndarray, "..."], y: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "... 2"]:
    found = cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    found[..., 0] *= found[..., 1]
    return found


def _on_plane(
    rays: Float[np.ndarray, "*pixels 3"], plane: Float[np.ndarray, "3 3"]
) -> tuple[Float[np.ndarray, "*pixels"], Float[np.ndarray, "*pixels"], np.ndarray]:
    """Where rays meet the board's plane, in its own metres, and which of them do so ahead of the camera."""
    flat = rays.reshape(-1, 3) @ plane.T
    ahead = flat[:, 2] > 1e-6
    inverse = 1 / np.where(ahead, flat[:, 2], np.float32(1))
    shape = rays.shape[:-1]
    return (flat[:, 0] * inverse).reshape(shape), (flat[:, 1] * inverse).reshape(shape), ahead.reshape(shape)
