"""Training of the keypoint networks."""
