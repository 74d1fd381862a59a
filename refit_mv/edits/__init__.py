"""What a person who has looked at a fit corrects in it."""
