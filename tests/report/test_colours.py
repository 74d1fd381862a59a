"""People can be told apart by their colours, by colour-blind people too, and from skin and floors."""

from itertools import combinations

import numpy as np
import pytest

from refit_mv.report.colours import PALETTE, css, lettering_on, luminance, person_colour

# Machado, Oliveira & Fernandes 2009, severity 1, in linear RGB.
EYES = {
    "all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
SKIN = ((255, 224, 196), (241, 194, 150), (224, 172, 135), (198, 134, 96), (141, 85, 56), (96, 57, 38))
GREY = tuple((value, value, value) for value in (40, 80, 120, 160, 200, 235))


def lab(colour: tuple[int, int, int], eyes: str = "all cones") -> np.ndarray:
    """CIELAB under D65, as these eyes see it."""
    value = np.array(colour) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    seen = (np.array(EYES[eyes]) @ linear).clip(0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ seen / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eyes", list(EYES))
def test_ten_people_have_ten_colours(eyes: str) -> None:
    assert len(PALETTE) >= 10
    apart = {(a, b): float(np.linalg.norm(lab(a, eyes) - lab(b, eyes))) for a, b in combinations(PALETTE, 2)}
    assert min(apart.values()) > 20, min(apart, key=lambda pair: apart[pair])


def test_nobody_has_the_colour_of_skin_or_floors() -> None:
    apart = {(a, b): float(np.linalg.norm(lab(a) - lab(b))) for a in PALETTE for b in SKIN + GREY}
    assert min(apart.values()) > 20, min(apart, key=lambda pair: apart[pair])


def test_one_person_keeps_the_colour_they_had() -> None:
    assert person_colour(0) == (86, 180, 233)
    assert css(person_colour(0)) == "#56b4e9"
    assert person_colour(len(PALETTE)) == person_colour(0)


@pytest.mark.parametrize("colour", PALETTE)
def test_lettering_can_be_read(colour: tuple[int, int, int]) -> None:
    """A contrast of 4.5 is what WCAG asks of small text."""
    bright, dark = sorted((luminance(colour), luminance(lettering_on(colour))), reverse=True)
    assert (bright + 0.05) / (dark + 0.05) >= 4.5
