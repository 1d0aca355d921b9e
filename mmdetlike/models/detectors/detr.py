"""The base of query detectors; DETR, arXiv 2005.12872, Conditional DETR, 2108.06152, and DAB-DETR, 2201.12329."""

import dataclasses
from collections.abc import Callable, Sequence

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.heads.query import InitialQueries, QueryContext, QueryOutputs
from mmdetlike.models.layers import build_part
from mmdetlike.models.layers.transformer import (
    ConditionalDecoder,
    DABDecoder,
    DABEncoder,
    FlatPyramid,
    TransformerDecoder,
    TransformerEncoder,
    build_positional_encoding,
    flatten_pyramid,
    inverse_sigmoid,
)
from mmdetlike.models.utils import padding_of
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .base import BaseDetector
from .old_keys import OF_DETR


class DetectionTransformer(BaseDetector):
    """Backbone, neck, a transformer that turns queries into objects, and a head that reads them.

    A subclass names its encoder and decoder, builds what queries start from in ``build_queries``, and starts them in
    ``initial_queries``.

    Args:
        encoder, decoder: Arguments of encoder and decoder.
        bbox_head: Queries -> objects.
        positional_encoding: Arguments of ``SinePositionalEncoding``.
        num_queries: Number of queries, the most objects that are found in an image.
        neck: Feature maps -> feature maps of the transformer's width.
        backbone, train_cfg, test_cfg, data_preprocessor, init_cfg: As of ``BaseDetector``.

    Raises:
        ConfigError: Encoder, decoder and head are not of one width.
    """

    old_keys = OF_DETR
    # what ``build_transformer`` makes
    encoder_class: type[nn.Module] = TransformerEncoder
    decoder_class: type[nn.Module] = TransformerDecoder

    def __init__(
        self,
        *,
        encoder: dict,
        decoder: dict,
        bbox_head: dict,
        backbone: dict,
        neck: dict | None = None,
        positional_encoding: dict | None = None,
        num_queries: int = 100,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(backbone, neck, train_cfg, test_cfg, data_preprocessor, init_cfg)
        self.num_queries = num_queries
        self.bbox_head = self.build_head(bbox_head)
        self.build_transformer(encoder, decoder)
        self.embed_dims = self.decoder.embed_dims
        if self.bbox_head.embed_dims != self.embed_dims:
            raise ConfigError(
                f'embed_dims of bbox_head must be the {self.embed_dims} channels of the decoder, '
                f'got {self.bbox_head.embed_dims}'
            )
        self.positional_encoding = build_positional_encoding(positional_encoding, self.embed_dims)
        self.build_queries()

    def build_transformer(self, encoder: dict, decoder: dict) -> None:
        """Hook: make ``encoder`` and ``decoder`` of their arguments; the head is there already."""
        self.encoder = build_part(encoder, self.encoder_class)
        self.decoder = build_part(decoder, self.decoder_class)
        if self.encoder.embed_dims != self.decoder.embed_dims:
            widths = f'{self.encoder.embed_dims} and {self.decoder.embed_dims}'
            raise ConfigError(f'embed_dims of encoder and decoder must be the same number, got {widths}')

    def build_queries(self) -> None:
        """Hook: make what queries start from; encoder and decoder are there already."""
        raise NotImplementedError

    def build_context(self, samples: SampleList | None, padding_masks: Tensor | None) -> QueryContext:
        """Hook: what is known of a batch beside its feature maps; without ``samples`` where images alone are given.

        ``padding_masks`` (B, H, W) are True for padding of the images; None where there is none.
        """
        return QueryContext(samples, padding_masks)

    def forward_transformer(self, feats: tuple[Tensor, ...], context: QueryContext) -> QueryOutputs:
        """Encode the feature maps (B, C, H_i, W_i), start the queries, decode."""
        pyramid, memory = self.encode(feats, context)
        queries = self.initial_queries(pyramid, memory, context)
        return self.decode(queries, pyramid, memory, context)

    def encode(self, feats: tuple[Tensor, ...], context: QueryContext) -> tuple[FlatPyramid, Tensor]:
        """The feature maps (B, C, H_i, W_i) in one row, and their pixels (B, S, C) after the encoder."""
        pyramid = self.flatten(feats, context)
        return pyramid, self.encoder.encode(pyramid)

    def flatten(self, feats: tuple[Tensor, ...], context: QueryContext) -> FlatPyramid:
        """Hook: the feature maps in one row, with positions; by default the coarsest one alone."""
        return flatten_pyramid(feats[-1:], context.padding_masks, self.positional_encoding)

    def initial_queries(self, pyramid: FlatPyramid, memory: Tensor, context: QueryContext) -> InitialQueries:
        """Hook: what decoding starts from, of the images and their pixels ``memory`` (B, S, C) after the encoder.

        Whether the samples of ``context`` are to be learned from says ``self.training``.
        """
        raise NotImplementedError

    def decode(
        self, queries: InitialQueries, pyramid: FlatPyramid, memory: Tensor, context: QueryContext
    ) -> QueryOutputs:
        """Run the decoder."""
        start = (queries.content, queries.positions, queries.references)
        how = dict(self_attn_mask=queries.attn_mask, reg_branches=self.refining_branches(queries))
        hidden_states, references = self.decoder(*start, pyramid, memory, **how)
        return QueryOutputs(
            hidden_states, references, context, queries.enc_cls_score, queries.enc_bbox_pred, queries.denoising
        )

    def refining_branches(self, queries: InitialQueries) -> Sequence[Callable[[Tensor], Tensor]] | None:
        """Hook: for each decoder layer what refines the references of the next; None keeps them."""
        return None

    def loss_of_maps(self, x: tuple[Tensor, ...], samples: SampleList) -> dict[str, Tensor]:
        context = self.build_context(samples, padding_of(samples, x[0].device))
        return self.bbox_head.loss(self.forward_transformer(x, context))

    def predict_of_maps(self, x: tuple[Tensor, ...], samples: SampleList, rescale: bool) -> list[InstanceData]:
        context = self.build_context(samples, padding_of(samples, x[0].device))
        return self.bbox_head.predict(self.forward_transformer(x, context), rescale)

    def detect_of_maps(self, x: tuple[Tensor, ...], samples: SampleList) -> list[dict[str, Tensor]]:
        context = self.build_context(None, padding_of(samples, x[0].device))
        return self.bbox_head.detect(self.forward_transformer(x, context), [sample.img_shape for sample in samples])

    def _forward(self, batch_inputs: Tensor, batch_data_samples: SampleList | None = None):
        masks = padding_of(batch_data_samples, batch_inputs.device) if batch_data_samples else None
        context = self.build_context(batch_data_samples, masks)
        return self.bbox_head(self.forward_transformer(self.extract_feat(batch_inputs), context))


@MODELS.register_module()
class DETR(DetectionTransformer):
    """DETR, arXiv 2005.12872; see ``DetectionTransformer``."""

    def build_queries(self) -> None:
        self.query_embedding = nn.Embedding(self.num_queries, self.embed_dims)

    def initial_queries(self, pyramid: FlatPyramid, memory: Tensor, context: QueryContext) -> InitialQueries:
        """Learned positions, without content."""
        positions = self.query_embedding.weight.expand(len(memory), -1, -1)
        return InitialQueries(torch.zeros_like(positions), positions)


@MODELS.register_module()
class ConditionalDETR(DETR):
    """DETR whose queries attend to the image around reference points, arXiv 2108.06152."""

    decoder_class = ConditionalDecoder

    def initial_queries(self, pyramid: FlatPyramid, memory: Tensor, context: QueryContext) -> InitialQueries:
        """Learned positions, without content, and the reference points that lie there."""
        queries = super().initial_queries(pyramid, memory, context)
        return dataclasses.replace(queries, references=self.decoder.ref_point_head(queries.positions).sigmoid())


@MODELS.register_module()
class DABDETR(DetectionTransformer):
    """DETR whose queries are boxes, refined layer by layer, arXiv 2201.12329.

    Args:
        with_random_refpoints: Keep the centers of the boxes as they are drawn: spread evenly over the image.
        num_patterns: Contents that each box starts with: that many queries for each; 0 for one without content.
    """

    encoder_class = DABEncoder
    decoder_class = DABDecoder

    def __init__(self, *, with_random_refpoints: bool = False, num_patterns: int = 0, **kwargs) -> None:
        if num_patterns < 0:
            raise ConfigError(f'num_patterns must be at least 0, got {num_patterns}')
        self.with_random_refpoints, self.num_patterns = with_random_refpoints, num_patterns
        super().__init__(**kwargs)

    def build_queries(self) -> None:
        """A box for each query, before the sigmoid, and patterns."""
        self.query_embedding = nn.Embedding(self.num_queries, self.decoder.query_dim)
        if self.num_patterns:
            self.patterns = nn.Embedding(self.num_patterns, self.embed_dims)

    def init_weights(self) -> None:
        """Spread fixed centers over the image; then initialize all parts as they and the config say."""
        if self.with_random_refpoints:
            with torch.no_grad():
                self.query_embedding.weight[:, :2] = inverse_sigmoid(torch.rand(self.num_queries, 2))
        super().init_weights()

    def initial_queries(self, pyramid: FlatPyramid, memory: Tensor, context: QueryContext) -> InitialQueries:
        """Learned boxes, without content or with each of the patterns."""
        boxes = self.query_embedding.weight
        if self.with_random_refpoints:
            boxes = torch.cat([boxes[:, :2].detach(), boxes[:, 2:]], dim=-1)
        if self.num_patterns:
            content = self.patterns.weight.repeat_interleave(self.num_queries, dim=0)
            boxes = boxes.repeat(self.num_patterns, 1)
        else:
            content = boxes.new_zeros(self.num_queries, self.embed_dims)
        batch = len(memory)
        references = boxes.sigmoid().expand(batch, -1, -1)
        return InitialQueries(content.expand(batch, -1, -1), references=references)

    def refining_branches(self, queries: InitialQueries) -> Sequence[Callable[[Tensor], Tensor]]:
        return [self.bbox_head.box_deltas] * self.decoder.num_layers
