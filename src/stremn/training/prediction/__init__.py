"""Training of video prediction."""
