"""Weights of Hugging Face's detectors, converted: our detectors then compute what ``transformers`` does."""

import gzip
import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mmdetlike.errors import CheckpointError
from mmdetlike.registry import MODELS
from mmdetlike.structures import DetDataSample
from mmdetlike.structures.bbox import bbox_cxcywh_to_xyxy
from mmdetlike.utils.config import load_config
from tests.tools import huggingface_record as recorder

ROOT = Path(__file__).parents[2]
BACKBONES = {
    'basic': dict(depth=18, base_channels=16),
    'bottleneck': dict(depth=50, base_channels=8),
}


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('huggingface', ROOT / 'tools/model_converters/huggingface.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def recording(name: str) -> dict:
    with gzip.open(recorder.FOLDER / f'{name}.json.gz', 'rt') as file:
        return json.load(file)


def drawn_state(recorded: dict) -> dict[str, torch.Tensor]:
    return {name: recorder.drawn(name, shape) for name, shape in recorded['state'].items()}


def small_config(name: str) -> ConfigDict:
    """The shipped config, as small as what is recorded."""
    block = recorder.RECORDINGS[name][1]
    cfg = load_config(ROOT / 'configs/rtdetr/rtdetr_r50vd_8xb2-72e_coco.py').model
    attention = dict(embed_dims=32, num_heads=4)
    widths = recorder.WIDTHS[block]['hidden_sizes'][1:]
    cfg.num_queries = 12
    cfg.backbone.update(frozen_stages=-1, **BACKBONES[block])
    cfg.neck.update(in_channels=widths, out_channels=32, num_heads=4, feedforward_channels=48)
    cfg.decoder.num_layers = 2
    cfg.bbox_head.update(num_classes=3, embed_dims=32)
    cfg.decoder.layer_cfg.self_attn_cfg.update(attention)
    cfg.decoder.layer_cfg.cross_attn_cfg.update(attention, num_points=2)
    if name.endswith('discrete'):
        cfg.decoder.layer_cfg.cross_attn_cfg.method = 'discrete'
    cfg.decoder.layer_cfg.ffn_cfg.update(embed_dims=32, feedforward_channels=48)
    return cfg


def samples() -> list[DetDataSample]:
    height, width = recorder.IMAGE_SIZE
    size = torch.tensor([width, height, width, height], dtype=torch.float32)
    made = []
    for labels, boxes in recorder.OBJECTS:
        shape = dict(img_shape=(height, width), batch_input_shape=(height, width), ori_shape=(height, width))
        sample = DetDataSample(metainfo=dict(shape, scale_factor=(1.0, 1.0)))
        sample.gt_instances = InstanceData(
            bboxes=bbox_cxcywh_to_xyxy(torch.tensor(boxes)) * size, labels=torch.tensor(labels)
        )
        made.append(sample)
    return made


@pytest.fixture(scope='module', params=recorder.RECORDINGS)
def converted(request, tool):
    """Our detector with the weights of a recording, and the recording."""
    recorded = recording(request.param)
    model = MODELS.build(small_config(request.param))
    model.load_state_dict(tool.convert_state(drawn_state(recorded), recorded['config']))
    return model.eval(), recorded


def test_predictions_are_those_of_transformers(converted):
    model, recorded = converted
    with torch.no_grad():
        layers = model(recorder.images(), mode='tensor')
    for i, (logits, boxes) in enumerate(layers):
        # recorded are (images, layers, queries, numbers)
        torch.testing.assert_close(logits, torch.tensor(recorded['logits'])[:, i], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(boxes, torch.tensor(recorded['boxes'])[:, i], rtol=1e-4, atol=1e-5)


def test_losses_are_those_of_transformers(converted, monkeypatch):
    model, recorded = converted
    recorder.train_but_norms(model)
    # denoising draws at random
    monkeypatch.setattr(model, 'add_denoising', lambda queries, context: queries)
    ours = {name: float(value) for name, value in model(recorder.images(), samples(), mode='loss').items()}
    terms = dict(cls='vfl', bbox='bbox', iou='giou')
    layers = {'': '', 'd0.': '_aux_0', 'enc_': '_aux_1'}
    theirs = {
        f'{layer}loss_{term}': recorded['losses'][f'loss_{name}{suffix}']
        for layer, suffix in layers.items()
        for term, name in terms.items()
    }
    assert ours == pytest.approx(theirs, rel=1e-4)


SHIPPED = {
    'detr': 'detr/detr_r50_8xb2-150e_coco.py',
    'conditional_detr': 'conditional_detr/conditional-detr_r50_8xb2-50e_coco.py',
    'deformable_detr': 'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
    'deformable_detr_refined': 'deformable_detr/deformable-detr-refine_r50_16xb2-50e_coco.py',
    'deformable_detr_two_stage': 'deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco.py',
}


def small_plain(name: str) -> ConfigDict:
    """A shipped config, as small as what is recorded."""
    cfg = load_config(ROOT / 'configs' / SHIPPED[name]).model
    cfg.num_queries = 12
    widths = recorder.WIDTHS['bottleneck']['hidden_sizes'][-len(cfg.neck.in_channels) :]
    cfg.backbone.update(base_channels=8, init_cfg=None)
    # transformers' convolutions in front of norm layers have biases
    cfg.neck.update(in_channels=widths, out_channels=32, bias=True)
    for part in (cfg.encoder, cfg.decoder):
        part.num_layers = 2
        for attention in ('self_attn_cfg', 'cross_attn_cfg'):
            if attention in part.layer_cfg:
                part.layer_cfg[attention].update(embed_dims=32, num_heads=4)
        part.layer_cfg.ffn_cfg.update(embed_dims=32, feedforward_channels=48)
    cfg.positional_encoding.num_feats = 16
    cfg.bbox_head.update(num_classes=3, embed_dims=32)
    return cfg


@pytest.mark.parametrize('name', recorder.PLAIN)
def test_last_layers_predict_what_those_of_transformers_do(name, tool):
    recorded = recording(name)
    model = MODELS.build(small_plain(name))
    model.load_state_dict(tool.convert_state(drawn_state(recorded), recorded['config']))
    with torch.no_grad():
        logits, boxes = model.eval()(recorder.images(), mode='tensor')[-1]
    torch.testing.assert_close(logits, torch.tensor(recorded['logits']), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(boxes, torch.tensor(recorded['boxes']), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ('published', 'ours'),
    [
        ('sa_qcontent_proj.weight', 'self_attn.qcontent_proj.weight'),
        ('sa_kpos_proj.bias', 'self_attn.kpos_proj.bias'),
        ('sa_v_proj.bias', 'self_attn.v_proj.bias'),
        ('ca_qpos_sine_proj.weight', 'cross_attn.qpos_sine_proj.weight'),
        ('ca_qpos_proj.weight', 'cross_attn.qpos_proj.weight'),
        ('encoder_attn.out_proj.bias', 'cross_attn.out_proj.bias'),
    ],
)
def test_older_names_of_conditional_attention(tool, published, ours):
    assert tool.rename(f'model.decoder.layers.4.{published}', tool.CONDITIONAL_DETR, 6) == f'decoder.layers.4.{ours}'


@pytest.mark.parametrize('prefix', ['model.backbone.conv_encoder.model.', 'model.backbone.model.'])
def test_backbones_of_timm_have_our_names(tool, prefix):
    # as in the weights that DETR's authors published
    assert tool.rename(f'{prefix}layer2.0.downsample.0.weight', tool.DETR, 6) == 'backbone.layer2.0.downsample.0.weight'


@pytest.mark.slow
@pytest.mark.parametrize('name', recorder.RECORDINGS)
def test_recordings_are_what_transformers_computes_today(name):
    pytest.importorskip('transformers', reason='only needed to make the recordings')
    today = recorder.record(name)
    stored = recording(name)
    assert today['config'] == stored['config'] and today['state'] == stored['state']
    torch.testing.assert_close(torch.tensor(today['logits']), torch.tensor(stored['logits']), rtol=1e-4, atol=1e-5)
    assert today['losses'] == pytest.approx(stored['losses'], rel=1e-4)


def test_a_folder_becomes_a_checkpoint(tool, tmp_path):
    recorded = recording('rt_detr_basic')
    config = dict(recorded['config'], id2label={'0': 'cat', '1': 'dog', '2': 'bird'})
    (tmp_path / 'config.json').write_text(json.dumps(config))
    torch.save(drawn_state(recorded), tmp_path / 'pytorch_model.bin')
    target = tmp_path / 'ours.pth'
    tool.convert(tmp_path, target)
    checkpoint = torch.load(target)
    assert checkpoint['meta']['dataset_meta']['classes'] == ['cat', 'dog', 'bird']
    MODELS.build(small_config('rt_detr_basic')).load_state_dict(checkpoint['state_dict'])


def test_what_cannot_be_converted_is_named(tool, tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match=r'has no config\.json'):
        tool.read_folder(tmp_path)
    (tmp_path / 'config.json').write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match=r'neither model\.safetensors nor pytorch_model\.bin'):
        tool.read_folder(tmp_path)
    (tmp_path / 'model.safetensors').touch()
    monkeypatch.setitem(sys.modules, 'safetensors.torch', None)
    with pytest.raises(CheckpointError, match='pip install safetensors'):
        tool.read_folder(tmp_path)
    with pytest.raises(CheckpointError, match="model_type='bert', one of "):
        tool.convert_state({}, dict(model_type='bert'))
    with pytest.raises(CheckpointError, match=r"parameter 'model\.pooler'"):
        tool.convert_state({'model.pooler': torch.zeros(1)}, dict(model_type='rt_detr', decoder_layers=2))
