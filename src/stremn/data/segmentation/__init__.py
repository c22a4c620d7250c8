"""Data of video object segmentation: videos and stills with masks, and the training clips made of them."""
