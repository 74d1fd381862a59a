"""What makes and measures the product. Nothing outside imports it, but its own commands.

``synthetic``: people, rigs and detectors with known truth. ``training``: the networks, from such worlds.
``pictures``: rendered and annotated people, for the image network. ``bench``: optimizers side by side.
``builders``: the shipped assets.
"""
