"""A finished fit on disk."""
