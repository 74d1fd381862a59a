"""Many takes on many machines: pure stages, their graph, engines that run them, and a manifest of how far they are."""
