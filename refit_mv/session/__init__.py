"""What a recording folder holds: layouts, keypoint files, and the store of results."""
