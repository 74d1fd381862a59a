"""From pictures to 2D keypoints: thin adapters over detectors that others keep, and the files they fill."""
