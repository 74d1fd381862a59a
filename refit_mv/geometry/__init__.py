"""Rotations, rigid transforms, cameras, projection and triangulation. Knows nothing of bodies or files."""
