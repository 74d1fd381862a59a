"""From pictures to 2D keypoints: adapters over detectors that others trained, and the files they fill."""
