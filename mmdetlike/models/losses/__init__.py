"""Losses: each computes a value for every element, ``Loss`` weights and reduces them."""

from .accuracy import Accuracy, accuracy
from .associative_embedding_loss import AssociativeEmbeddingLoss
from .cross_entropy_loss import CrossEntropyLoss, check_class_weight, one_hot_labels
from .decoupled_distillation_loss import DecoupledDistillationFocalLoss
from .dice_loss import DiceLoss
from .federated_loss import FederatedLoss
from .focal_loss import FocalLoss
from .gaussian_focal_loss import GaussianFocalLoss
from .gfocal_loss import DistributionFocalLoss, QualityFocalLoss
from .ghm_loss import GHMC, GHMR
from .hard_pixel_loss import HardPixelLoss
from .iou_loss import BoundedIoULoss, CIoULoss, DIoULoss, EIoULoss, GIoULoss, IoULoss, SIoULoss
from .kd_loss import KnowledgeDistillationKLDivLoss
from .reduction import Loss, weight_reduce_loss, weighted_loss
from .seesaw_loss import SeesawLoss
from .smooth_l1_loss import BalancedL1Loss, HuberLoss, L1Loss, MSELoss, SmoothL1Loss
from .varifocal_loss import VarifocalLoss
from .vast_classes import CrossEntropyCustomLoss, FocalCustomLoss
