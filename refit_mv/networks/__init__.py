"""The learned optimizer: recurrent fitting across views with learned Gauss–Newton layers, and its training."""
