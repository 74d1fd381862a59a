"""A fit to walk around in: live in the browser, where clicks become corrections, or as one page to keep."""
