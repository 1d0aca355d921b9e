"""Functions that several heads share."""

from .fixed_rows import fixed_rows
from .gaussian_mixture import fit_two_gaussians
from .gaussian_target import (
    gaussian_2d,
    gaussian_radius,
    gen_gaussian_target,
    get_local_maximum,
    get_topk_from_heatmap,
    transpose_and_gather_feat,
)
from .masks import (
    aligned_bilinear,
    annotated_masks,
    crop_or_pad,
    mask_centroids,
    masks_at_stride,
    masks_in_image,
    preprocess_panoptic_gt,
    require_masks,
    semantic_maps,
)
from .misc import interpolate_as, make_divisible, neighbors, padding_masks, padding_of, to_image_size
from .point_sample import get_uncertain_point_coords_with_randomness, get_uncertainty
from .precision import float32_if_half
from .progress import TrainingProgress
from .suppress import best_first, first_of_best, ranks_in_groups, suppress, suppress_boxes
