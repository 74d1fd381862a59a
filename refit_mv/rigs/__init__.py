"""Cameras and clocks as unknowns: what people's points say of the rig that saw them."""
