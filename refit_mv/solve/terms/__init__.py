"""What a fit minimises, term by term: each file owns its options, its cost and its linearisation."""
