"""A room for each pipeline of heads; each has its base and what its families share."""

from . import auxiliary, dense, keypoint, mask_grid, mask_query, query, roi, semantic
