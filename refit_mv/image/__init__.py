"""ReFit's image network: features of the picture as another source of feedback, and what it is trained on."""
