"""Rendered and annotated people, and the training of the image network on them."""
