"""Parametric bodies of the SMPL family: models, landmarks, keypoint sets and priors."""
