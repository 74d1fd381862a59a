"""One colour for each person, the same in overlays, charts and tables."""

Colour = tuple[int, int, int]

# sRGB. Found by a search for ten colours as far from one another as can be, for everybody, and for those who lack one
# kind of cones (Machado et al. 2009): 25 apart in CIELAB at least, so that one just tells them even when shaded; and 24
# from skin and from the grey of floors. The first is the one that a person alone has.
PALETTE: tuple[Colour, ...] = (
    (86, 180, 233),
    (255, 34, 170),
    (187, 238, 119),
    (153, 0, 255),
    (128, 112, 0),
    (136, 119, 238),
    (255, 221, 0),
    (119, 34, 85),
    (238, 136, 136),
    (0, 85, 34),
)
# Dark and light lettering.
INK, PAPER = (0, 0, 0), (255, 255, 255)


def person_colour(id: int) -> Colour:
    """RGB, 0 to 255. The eleventh person has the first one's again: their numbers tell them apart."""
    return PALETTE[id % len(PALETTE)]


def css(colour: Colour) -> str:
    """As a style sheet writes it."""
    return "#" + "".join(f"{channel:02x}" for channel in colour)


def lettering_on(colour: Colour) -> Colour:
    """Dark or light, whichever has more contrast (WCAG 2.2, relative luminance)."""
    ground = luminance(colour)
    dark, light = luminance(INK), luminance(PAPER)
    return INK if (ground + 0.05) / (dark + 0.05) > (light + 0.05) / (ground + 0.05) else PAPER


def luminance(colour: Colour) -> float:
    """Relative luminance, 0 (black) to 1 (white)."""
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (channel / 255 for channel in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
