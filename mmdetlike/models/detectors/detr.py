"""The base of query-based detectors, and DETR: End-to-End Object Detection with Transformers, arXiv 2005.12872."""

import torch
from torch import Tensor, nn

from mmdetlike.models.dense_heads.detr_head import QueryOutputs
from mmdetlike.models.layers.transformer import (
    TransformerDecoder,
    TransformerEncoder,
    build_sine_encoding,
    padding_at,
    padding_masks,
)
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .base import BaseDetector
from .settings import with_cfgs


class DetectionTransformer(BaseDetector):
    """Backbone, neck, a transformer that turns queries into objects, and a head that reads them.

    A subclass builds ``encoder`` and ``decoder`` in ``_build_transformer`` and runs them in ``transform``.

    Args:
        backbone: Image -> maps.
        neck: Maps -> maps of the transformer's width.
        encoder: Arguments of the encoder.
        decoder: Arguments of the decoder.
        bbox_head: Queries -> objects.
        positional_encoding: Arguments of ``SinePositionalEncoding``.
        num_queries: Objects predicted for each image, at most.
        train_cfg: Handed to the head.
        test_cfg: Handed to the head.
        data_preprocessor: Stacks, pads and normalises images.
        init_cfg: Weight initialisation.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict | None = None,
        encoder: dict | None = None,
        decoder: dict | None = None,
        bbox_head: dict | None = None,
        positional_encoding: dict | None = None,
        num_queries: int = 100,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.num_queries = num_queries
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(neck) if neck is not None else None
        self.bbox_head = MODELS.build(with_cfgs(bbox_head, train_cfg, test_cfg))
        self._build_transformer(encoder, decoder)
        self.embed_dims = self.encoder.embed_dims
        self.positional_encoding = build_sine_encoding(positional_encoding, self.embed_dims)
        self._build_queries()

    def _build_transformer(self, encoder: dict, decoder: dict) -> None:
        raise NotImplementedError

    def _build_queries(self) -> None:
        raise NotImplementedError

    def transform(self, feats: tuple[Tensor, ...], masks: Tensor | None, samples: SampleList | None) -> QueryOutputs:
        """Run the transformer.

        Args:
            feats: Maps (B, C, H_i, W_i).
            masks: (B, H, W) True for padding of the images; None where there is none.
            samples: In training, the samples with their objects.
        """
        raise NotImplementedError

    def init_weights(self) -> None:
        """Initialise as the config says, the transformer by Xavier."""
        super().init_weights()
        with torch.no_grad():
            for part in (self.encoder, self.decoder):
                for parameter in part.parameters():
                    if parameter.dim() > 1:
                        nn.init.xavier_uniform_(parameter)

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Loss terms of images (B, 3, H, W)."""
        return self.bbox_head.loss(self._run(batch_inputs, batch_data_samples, True), batch_data_samples)

    def predict(self, batch_inputs: Tensor, batch_data_samples: SampleList, rescale: bool = True) -> SampleList:
        """The samples with ``pred_instances``, boxes in pixels of the original images unless ``rescale`` is False."""
        outs = self._run(batch_inputs, batch_data_samples, False)
        results = self.bbox_head.predict(outs, batch_data_samples, rescale)
        return self.add_pred_to_datasample(batch_data_samples, results)

    def _forward(self, batch_inputs: Tensor, batch_data_samples: SampleList | None = None):
        return self.bbox_head(self._run(batch_inputs, batch_data_samples, False))

    def _run(self, batch_inputs: Tensor, samples: SampleList | None, training: bool) -> QueryOutputs:
        size = tuple(batch_inputs.shape[-2:])
        shapes = [sample.img_shape for sample in samples] if samples else [size]
        masks = padding_masks(shapes, size, batch_inputs.device)
        return self.transform(self.extract_feat(batch_inputs), masks, samples if training else None)


@MODELS.register_module()
class DETR(DetectionTransformer):
    """DETR, arXiv 2005.12872; see ``DetectionTransformer``."""

    def _build_transformer(self, encoder: dict, decoder: dict) -> None:
        self.encoder, self.decoder = TransformerEncoder(**encoder), TransformerDecoder(**decoder)

    def _build_queries(self) -> None:
        self.query_embedding = nn.Embedding(self.num_queries, self.embed_dims)

    def transform(self, feats: tuple[Tensor, ...], masks: Tensor | None, samples: SampleList | None) -> QueryOutputs:
        """One map to encode, and learned positions of queries that start without content."""
        feat = feats[-1]
        mask = padding_at(masks, feat.shape[-2:])
        pos = self.positional_encoding(mask, input=feat).flatten(2).transpose(1, 2)
        mask = mask.flatten(1) if mask is not None else None
        memory = self.encoder(feat.flatten(2).transpose(1, 2), pos, key_padding_mask=mask)
        query_pos = self.query_embedding.weight.expand(len(feat), -1, -1)
        attend = dict(key=memory, value=memory, key_pos=pos, key_padding_mask=mask)
        hidden = self.decoder(torch.zeros_like(query_pos), query_pos=query_pos, **attend)
        return QueryOutputs(hidden, [])
