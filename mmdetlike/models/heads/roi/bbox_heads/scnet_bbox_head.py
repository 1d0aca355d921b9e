"""The box head of SCNet, arXiv 2012.10150."""

from collections.abc import Sequence

from mmengine.config import ConfigDict
from torch import Tensor

from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.registry import MODELS

from .convfc_bbox_head import ConvFCBBoxHead


@MODELS.register_module()
class SCNetBBoxHead(ConvFCBBoxHead):
    """A ``ConvFCBBoxHead`` that also returns its shared features, for masks."""

    def forward(self, x: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor]:
        """Region features (n, C, h, w) -> class logits, deltas and shared features (n, c)."""
        shared = self.shared_features(x)
        return (*self.predict_from_shared(shared), shared)

    def loss(self, preds: tuple, sampled: Sequence[SamplingResult], cfg: ConfigDict) -> dict[str, Tensor]:
        return super().loss(preds[:2], sampled, cfg)
