"""How the shipped assets are made."""
