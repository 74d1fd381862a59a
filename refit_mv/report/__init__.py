"""What a person looks at after a fit: overlays on the video and the quality report."""
