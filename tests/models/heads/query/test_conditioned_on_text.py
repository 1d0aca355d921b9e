"""A detector whose classes are texts that come with the samples, made with the public hooks alone.

Each sample brings ``text_embeddings`` (tokens, C) and ``token_classes`` (tokens,): which class a token belongs to.
"""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from mmdetlike.models.detectors import DETR, DINO
from mmdetlike.models.heads.query import DETRHead, DINOHead, QueryContext
from mmdetlike.registry import MODELS
from tests.models.tiny import PREPROCESSOR, batch, make_sample
from tests.models.tiny_queries import (
    DECODER_LAYER,
    DEFORMABLE_DECODER,
    DEFORMABLE_ENCODER,
    DIMS,
    ENCODER_LAYER,
    FOCAL,
    FOCAL_COSTS,
    parts,
)

TOKENS = torch.tensor([0, 0, 1, 2, 2, 2])


@dataclass
class TextContext(QueryContext):
    """``texts`` (B, tokens, C), and ``token_classes`` (tokens,)."""

    texts: Tensor | None = None
    token_classes: Tensor | None = None


class TextClassifier:
    """Compares queries with tokens; a query should fit all tokens of its class."""

    def build_layers(self):
        super().build_layers()
        self.to_text = nn.Linear(self.embed_dims, self.embed_dims)

    def classify(self, layer, hidden, context):
        return self.to_text(hidden) @ context.texts.transpose(1, 2) - 2.0

    def class_targets(self, targets, context):
        return (targets.labels[..., None] == context.token_classes).float()

    def class_logits(self, cls_score, context):
        classes = range(self.num_classes)
        return torch.stack([cls_score[..., context.token_classes == c].mean(-1) for c in classes], dim=-1)


class TextTransformer:
    """Reads the texts of the samples, in training and in testing."""

    def build_context(self, samples, padding_masks):
        context = super().build_context(samples, padding_masks)
        texts = torch.stack([sample.text_embeddings for sample in samples])
        return TextContext(context.samples, context.padding_masks, texts, samples[0].token_classes)


class TextDETRHead(TextClassifier, DETRHead):
    pass


class TextDINOHead(TextClassifier, DINOHead):
    pass


class TextDETR(TextTransformer, DETR):
    pass


class TextDINO(TextTransformer, DINO):
    pass


@pytest.fixture(autouse=True)
def _registered():
    classes = (TextDETRHead, TextDINOHead, TextDETR, TextDINO)
    for cls in classes:
        MODELS.register_module(module=cls)
    yield
    for cls in classes:
        MODELS.module_dict.pop(cls.__name__)


def text_detr(loss_cls=FOCAL):
    head = dict(type='TextDETRHead', num_classes=3, embed_dims=DIMS, loss_cls=loss_cls)
    encoder = dict(num_layers=1, layer_cfg=ENCODER_LAYER)
    decoder = dict(num_layers=2, layer_cfg=DECODER_LAYER)
    settings = dict(
        type='TextDETR', data_preprocessor=PREPROCESSOR, num_queries=6, encoder=encoder, decoder=decoder, bbox_head=head
    )
    return {**parts(1, FOCAL_COSTS), **settings}


def text_dino():
    settings = dict(type='TextDINO', num_queries=6, encoder=DEFORMABLE_ENCODER, decoder=DEFORMABLE_DECODER)
    head = dict(type='TextDINOHead', num_classes=3, embed_dims=DIMS, loss_cls=FOCAL)
    flow = dict(num_feature_levels=2, as_two_stage=True, with_box_refine=True, data_preprocessor=PREPROCESSOR)
    denoising = dict(group_cfg=dict(dynamic=True, num_dn_queries=8))
    return {**parts(2, FOCAL_COSTS), **settings, **flow, 'dn_cfg': denoising, 'bbox_head': head}


def samples_with_texts(counts=(2, 1)):
    generator = torch.Generator().manual_seed(0)
    samples = [make_sample(count, index=i) for i, count in enumerate(counts)]
    for sample in samples:
        sample.set_field(torch.randn(len(TOKENS), DIMS, generator=generator), 'text_embeddings')
        sample.set_field(TOKENS, 'token_classes')
    return samples


def built(cfg):
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.init_weights()
    return model


@pytest.mark.parametrize('make', [text_detr, text_dino])
def test_trained_and_tested(make):
    model = built(make())
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    data = batch(model, samples_with_texts((3, 1)), training=True)
    class_losses = []
    for _ in range(60):
        losses = model.train()(**data, mode='loss')
        optimizer.zero_grad()
        model.parse_losses(losses)[0].backward()
        optimizer.step()
        class_losses.append(float(losses['loss_cls']))
    assert class_losses[-1] < 0.5 * class_losses[0]
    with torch.no_grad():
        results = model.eval()(**data, mode='predict')
    # the best of all pairs of queries and classes are the classes that are there
    assert sorted(results[0].pred_instances.labels[:3].tolist()) == [0, 1, 2]
    assert results[1].pred_instances.labels[0] == 0


@pytest.mark.parametrize('make', [text_detr, text_dino])
def test_predictions_follow_the_texts_of_the_sample(make):
    model = built(make()).eval()
    with torch.no_grad():
        for parameter in model.bbox_head.to_text.parameters():
            nn.init.normal_(parameter)
        first, second = samples_with_texts((1, 1)), samples_with_texts((1, 1))
        # the tokens of two classes change places in the second call
        for sample in second:
            sample.set_field(TOKENS.sub(2).abs(), 'token_classes')
        scores = [model(**batch(model, samples), mode='tensor')[-1][0] for samples in (first, second)]
        torch.testing.assert_close(*scores)
        labels = [
            model(**batch(model, samples), mode='predict')[0].pred_instances.labels for samples in (first, second)
        ]
    assert torch.equal(labels[0].sub(2).abs(), labels[1])


def test_soft_targets_by_quality():
    model = built(text_detr(dict(type='QualityFocalLoss', use_sigmoid=True)))
    data = batch(model, samples_with_texts(), training=True)
    terms = model.train()(**data, mode='loss')
    assert all(term.isfinite() for term in terms.values()) and terms['loss_cls'] > 0
