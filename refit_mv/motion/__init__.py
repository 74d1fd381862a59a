"""Motion over a skeleton: what it is, and the files that carry it."""
