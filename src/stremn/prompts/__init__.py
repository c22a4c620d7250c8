"""Objects shown without a mask image: boxes, points, scribbles and polygons, and the masks made of them."""

from stremn.prompts.mask import prompt_mask

__all__ = ["prompt_mask"]
