"""Keypoint files of other tools, a module a format, and what they have in common."""
