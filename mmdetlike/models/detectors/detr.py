"""The base of query-based detectors, and DETR: End-to-End Object Detection with Transformers, arXiv 2005.12872."""

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.models.heads.query import QueryOutputs
from mmdetlike.models.layers.transformer import TransformerDecoder, TransformerEncoder, build_sine_encoding, padding_at
from mmdetlike.models.utils import padding_of
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .base import BaseDetector


class DetectionTransformer(BaseDetector):
    """Backbone, neck, a transformer that turns queries into objects, and a head that reads them.

    A subclass builds ``encoder`` and ``decoder`` in ``_build_transformer``, what queries start from in
    ``_build_queries``, and runs them in ``transform``.

    Args:
        encoder: Arguments of the encoder.
        decoder: Arguments of the decoder.
        bbox_head: Queries -> objects.
        positional_encoding: Arguments of ``SinePositionalEncoding``.
        num_queries: Objects predicted for each image, at most.
        kwargs: See ``BaseDetector``; ``neck`` makes maps of the transformer's width.
    """

    def __init__(
        self,
        encoder: dict,
        decoder: dict,
        bbox_head: dict,
        positional_encoding: dict | None = None,
        num_queries: int = 100,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.num_queries = num_queries
        self.bbox_head = self.build_head(bbox_head)
        self._build_transformer(encoder, decoder)
        self.embed_dims = self.encoder.embed_dims
        self.positional_encoding = build_sine_encoding(positional_encoding, self.embed_dims)
        self._build_queries()

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

    def loss_of_maps(self, x: tuple[Tensor, ...], samples: SampleList) -> dict[str, Tensor]:
        outs = self.transform(x, padding_of(samples, x[0].device), samples)
        return self.bbox_head.loss(outs, samples)

    def predict_of_maps(self, x: tuple[Tensor, ...], samples: SampleList, rescale: bool) -> list[InstanceData]:
        outs = self.transform(x, padding_of(samples, x[0].device), None)
        return self.bbox_head.predict(outs, samples, rescale)

    def _forward(self, batch_inputs: Tensor, batch_data_samples: SampleList | None = None):
        masks = padding_of(batch_data_samples, batch_inputs.device) if batch_data_samples else None
        return self.bbox_head(self.transform(self.extract_feat(batch_inputs), masks, None))


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
