"""What the image network consists of."""

from dataclasses import dataclass
from typing import Literal

from refit_mv.errors import InputError
from refit_mv.ranges import require_not_negative, require_positive

BackboneName = Literal["hrnet-w48", "small"]
PointKind = Literal["markers", "dense", "keypoints"]
Fusion = Literal["mean", "updates"]

# Backbones halve a crop five times.
COARSEST_STRIDE = 32


@dataclass(frozen=True)
class ImageNetworkOptions:
    """Sizes and switches; the defaults are those of the released ReFit.

    ``crop_size`` in pixels, a multiple of 32. ``points``: where on the body feedback is looked up: the 67 markers,
    ``dense_points`` vertices, or the semantic keypoints that the explicit evidence uses too. ``point_vertices`` names
    vertices of one certain mesh instead (the released markers are vertices of SMPL's), which has ``mesh_vertices`` of
    them (0: not known, not checked). ``radius``: the look-up window is 2 · radius + 1 pixels of the feature map wide.
    ``point_features``, ``feedback_features``: what a window, and all of them together, are reduced to. ``dropout``:
    share of the points left out in training, the same ones in all iterations. ``fusion`` across views: ``mean`` is the
    released plain mean, ``updates`` makes one metric body in the world. ``trust``: learn how much each view's proposal
    counts. ``keypoints``: detected keypoints are a second source of feedback in the same loop.
    """

    backbone: BackboneName = "hrnet-w48"
    crop_size: int = 256
    points: PointKind = "markers"
    dense_points: int = 231
    point_vertices: tuple[int, ...] = ()
    mesh_vertices: int = 0
    map_channels: int = 256
    radius: int = 3
    point_features: int = 5
    feedback_features: int = 256
    hidden: int = 32
    iterations: int = 5
    dropout: float = 0.25
    fusion: Fusion = "updates"
    trust: bool = False
    keypoints: bool = False

    def __post_init__(self) -> None:
        require_positive(
            self,
            "crop_size",
            "dense_points",
            "map_channels",
            "point_features",
            "feedback_features",
            "hidden",
            "iterations",
        )
        require_not_negative(self, "radius", "dropout", "point_vertices", "mesh_vertices")
        if self.crop_size % COARSEST_STRIDE:
            raise InputError(f"crop_size must be a multiple of {COARSEST_STRIDE}, got {self.crop_size}")
        if self.dropout >= 1:
            raise InputError(f"dropout must be below 1, got {self.dropout}")
