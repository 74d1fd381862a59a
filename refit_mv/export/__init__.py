"""Results in the formats that other software reads."""
