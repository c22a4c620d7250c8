"""Data of video prediction: videos without annotation, and the clips made of them."""
