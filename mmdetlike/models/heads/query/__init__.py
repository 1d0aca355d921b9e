"""Heads that predict one object for each query of a transformer."""

from .base import QueryHead
from .common import InitialQueries, QueryContext, QueryOutputs, QueryTargets
from .ddq_detr_head import DDQDETRHead, DDQOutputs, DDQQueries, DistinctQueries, distinct
from .deformable_detr_head import DeformableDETRHead, DINOHead, RTDETRHead
from .denoising import CdnQueryGenerator, DenoisingQueries
from .detr_head import ConditionalDETRHead, DABDETRHead, DETRHead
from .dfine_head import DFINEHead
