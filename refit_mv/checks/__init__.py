"""What the evidence says against its own cameras, clocks and sides: faults under which a fit still looks right."""
