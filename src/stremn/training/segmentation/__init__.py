"""Training of segmentation."""
