"""What changed, for phones that were away."""
