"""The region head of Sparse R-CNN, arXiv 2011.12450, and QueryInst, arXiv 2105.01928."""

from collections.abc import Sequence

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS

from .branches import QueryMaskBranch
from .cascade_roi_head import CascadeRoIHead
from .query_stage import QueryStage

DEFAULT_EXTRACTOR = dict(
    type='SingleRoIExtractor',
    roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=2),
    out_channels=256,
    featmap_strides=[4, 8, 16, 32],
)


@MODELS.register_module()
class SparseRoIHead(CascadeRoIHead):
    """A cascade over learned proposals, whose features go from stage to stage; of a box and, with masks, its mask.

    Args:
        num_stages, stage_loss_weights, bbox_roi_extractor: As of ``CascadeRoIHead``.
        proposal_feature_channel: Channels of the proposals' features.
        mask_roi_extractor: Pools features for masks.
        bbox_head: A ``DIIHead``, or a list of one for each stage.
        mask_head: A ``DynamicMaskHead``, or a list of one for each stage; None for a detector of boxes.
        train_cfg: See ``RoIHead``; the sampler must keep all proposals, as ``PseudoSampler`` does.
        test_cfg: ``max_per_img`` and, for masks, ``mask_thr_binary``.

    Raises:
        ConfigError: ``proposal_feature_channel`` differs from ``in_channels`` of the box heads, or masks share the
            features of boxes.
    """

    stage_class = QueryStage
    mask_branch_class = QueryMaskBranch
    fields_for_branches = ('query_features',)

    def __init__(
        self,
        num_stages: int = 6,
        stage_loss_weights: Sequence[float] = (1, 1, 1, 1, 1, 1),
        proposal_feature_channel: int = 256,
        bbox_roi_extractor: dict = DEFAULT_EXTRACTOR,
        mask_roi_extractor: dict | None = None,
        bbox_head: dict | Sequence[dict] = {'type': 'DIIHead'},  # noqa: B006
        mask_head: dict | Sequence[dict] | None = None,
        train_cfg: dict | Sequence[dict] | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            num_stages,
            stage_loss_weights,
            bbox_roi_extractor=bbox_roi_extractor,
            mask_roi_extractor=mask_roi_extractor,
            bbox_head=bbox_head,
            mask_head=mask_head,
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            init_cfg=init_cfg,
        )
        widths = {head.in_channels for head in self.bbox_head}
        if widths != {proposal_feature_channel}:
            raise ConfigError(
                f'proposal_feature_channel={proposal_feature_channel} must be in_channels of every bbox_head, '
                f'got {sorted(widths)}'
            )
        if self.with_mask and mask_roi_extractor is None:
            raise ConfigError('SparseRoIHead with a mask_head needs a mask_roi_extractor')
