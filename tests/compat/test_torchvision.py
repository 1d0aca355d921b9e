"""Arguments of torchvision's functions, and the order of its classes."""

import re

import pytest
import torch

from mmdetlike import model_zoo
from mmdetlike.compat.torchvision import convert_state_dict, model_config, whole_config
from mmdetlike.compat.torchvision.model import RECIPES
from mmdetlike.compat.torchvision.whole import parse_name
from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS
from mmdetlike.utils.published import find_published, published
from tests.models.reference_tools import FOLDER, load, module


def test_unknown_function_and_argument_are_refused_by_name():
    with pytest.raises(ConfigError, match='fasterrcnn_resnet152 has no counterpart here: expected fasterrcnn_resnet50'):
        model_config('fasterrcnn_resnet152')
    with pytest.raises(ConfigError, match=re.escape('has no argument box_nms_tresh here')):
        model_config('fasterrcnn_resnet50_fpn', box_nms_tresh=0.3)
    with pytest.raises(ConfigError, match='trainable_backbone_layers must be 0 to 5, got 7'):
        model_config('fasterrcnn_resnet50_fpn', trainable_backbone_layers=7)
    with pytest.raises(ConfigError, match="weights must be one of COCO_V1, COCO_LEGACY, DEFAULT, got 'COCO_V7'"):
        model_config('fasterrcnn_resnet50_fpn', weights='COCO_V7')
    with pytest.raises(ConfigError, match="fcos_resnet50_fpn: score_thresh must be a number, got 'high'"):
        model_config('fcos_resnet50_fpn', score_thresh='high')
    with pytest.raises(ConfigError, match='num_classes must be 2 or more, with background, got 1'):
        model_config('fcos_resnet50_fpn', num_classes=1)
    with pytest.raises(ConfigError, match='num_classes=6 gives an argument twice'):
        parse_name('torchvision://fcos_resnet50_fpn?num_classes=5&num_classes=6')


def test_constants_of_python_may_stand_in_a_name():
    assert parse_name('torchvision://fcos_resnet50_fpn?weights=None&progress=False&num_classes=5') == (
        'fcos_resnet50_fpn',
        dict(weights=None, progress=False, num_classes=5),
    )


@pytest.mark.parametrize(
    ('name', 'arguments', 'norm', 'frozen_stages'),
    [
        ('fasterrcnn_resnet50_fpn', {}, dict(type='BN'), -1),
        ('fasterrcnn_resnet50_fpn', dict(weights='COCO_V1'), dict(type='FrozenBN', eps=0.0), 1),
        ('fasterrcnn_resnet50_fpn', dict(weights_backbone='IMAGENET1K_V1'), dict(type='FrozenBN'), 1),
        ('fasterrcnn_resnet50_fpn_v2', dict(weights='COCO_V1'), dict(type='BN'), 1),
        ('fasterrcnn_resnet50_fpn', dict(weights='COCO_V1', trainable_backbone_layers=0), None, 4),
    ],
)
def test_weights_to_start_from_decide_what_is_frozen(name, arguments, norm, frozen_stages):
    backbone = model_config(name, **arguments)['backbone']
    assert backbone['frozen_stages'] == frozen_stages
    if norm is not None:
        assert backbone['norm_cfg'] == norm


def test_arguments_reach_their_settings():
    built = model_config('keypointrcnn_resnet50_fpn', num_keypoints=4, box_score_thresh=0.3, rpn_nms_thresh=0.6)
    assert built['roi_head']['keypoint_head']['num_keypoints'] == 4
    assert built['roi_head']['bbox_head']['num_classes'] == 1
    assert built['test_cfg']['rcnn']['score_thr'] == 0.3
    assert built['test_cfg']['rpn']['nms']['iou_threshold'] == 0.6


def test_background_is_moved_from_the_first_to_the_last_class():
    recording = load('tv__maskrcnn_resnet50_fpn', FOLDER / 'foreign')
    state = module('fill_state').state(recording['state'])
    model = MODELS.build(model_config('maskrcnn_resnet50_fpn'))
    converted = convert_state_dict(state, model)
    model.load_state_dict(converted, strict=True)
    theirs = state['roi_heads.box_predictor.cls_score.weight']
    ours = model.roi_head.bbox_head.fc_cls.weight
    assert torch.equal(ours[-1], theirs[0])
    assert torch.equal(ours[:-1], theirs[1:])
    masks = state['roi_heads.mask_predictor.mask_fcn_logits.weight']
    assert torch.equal(model.roi_head.mask_head.conv_logits.weight, masks[1:])


def test_published_weights_are_found_by_the_function():
    name = 'keypointrcnn_resnet50_fpn'
    assert find_published(f'torchvision://{name}').url.endswith(f'{name}_coco-fc266e95.pth')
    assert find_published(f'torchvision://{name}?weights=COCO_LEGACY').url.endswith(f'{name}_coco-9f466800.pth')
    config = model_zoo.get_config('fcos_resnet50_fpn.COCO_V1', trained=True)
    assert config.load_from.endswith('fcos_resnet50_fpn_coco-99b0c9b7.pth')
    # which is younger than the eps of torchvision's frozen norms
    assert config.model.backbone.norm_cfg == dict(type='FrozenBN')
    config = model_zoo.get_config('retinanet_resnet50_fpn.COCO_V1', trained=True)
    assert config.model.backbone.norm_cfg == dict(type='FrozenBN', eps=0.0)


def _names(kind: str, layer: str, *shape: int) -> dict[str, list[int]]:
    """Entries of a convolution or norm of the given kind."""
    entries = {'bare': ['weight'], 'conv': ['weight', 'bias'], 'gn': ['weight', 'bias']}
    entries['bn'] = ['weight', 'bias', 'running_mean', 'running_var']
    return {f'{layer}.{entry}': list(shape) if entry == 'weight' else [shape[0]] for entry in entries[kind]}


def _mask_rcnn_v2() -> dict[str, list[int]]:
    """Names and shapes of Faster R-CNN's second version, which was recorded, and of masks with norms."""
    state = dict(load('tv__fasterrcnn_resnet50_fpn_v2', FOLDER / 'foreign')['state'])
    for i in range(4):
        state.update(_names('bare', f'roi_heads.mask_head.{i}.0', 256, 256, 3, 3))
        state.update(_names('bn', f'roi_heads.mask_head.{i}.1', 256))
    state.update(_names('conv', 'roi_heads.mask_predictor.conv5_mask', 256, 256, 2, 2))
    return state | _names('conv', 'roi_heads.mask_predictor.mask_fcn_logits', 91, 256, 1, 1)


def _retinanet_v2() -> dict[str, list[int]]:
    """Names and shapes of RetinaNet, which was recorded, with what its second version has in place of the first's."""
    recorded = load('tv__retinanet_resnet50_fpn', FOLDER / 'foreign')['state']
    state = {name: shape for name, shape in dict(recorded).items() if not re.search(r'_head\.conv\.', name)}
    for head in ('classification_head', 'regression_head'):
        for i in range(4):
            state.update(_names('bare', f'head.{head}.conv.{i}.0', 256, 256, 3, 3))
            state.update(_names('gn', f'head.{head}.conv.{i}.1', 256))
    # its coarsest levels come from the backbone's last map
    return state | {'backbone.fpn.extra_blocks.p6.weight': [256, 2048, 3, 3]}


RECORDED = {name: f'tv__{name}' for name in RECIPES if (FOLDER / 'foreign' / f'tv__{name}.json.gz').exists()}
OTHERS = {
    'fasterrcnn_mobilenet_v3_large_320_fpn': lambda: load('tv__fasterrcnn_mobilenet_v3_large_fpn', FOLDER / 'foreign')[
        'state'
    ],
    'maskrcnn_resnet50_fpn_v2': _mask_rcnn_v2,
    'retinanet_resnet50_fpn_v2': _retinanet_v2,
}


def test_every_function_with_published_weights_is_known():
    assert {
        entry.name.partition('.')[0] for entry in published().values() if entry.addresses[0].startswith('torchvision:')
    } == set(RECIPES)
    assert set(RECORDED) | set(OTHERS) == set(RECIPES)


@pytest.mark.slow
@pytest.mark.parametrize('name', RECIPES)
def test_every_function_builds_and_loads_its_weights(name):
    shapes = dict(load(RECORDED[name], FOLDER / 'foreign')['state'] if name in RECORDED else OTHERS[name]())
    state = {key: torch.zeros(shape) for key, shape in shapes.items()}
    model = MODELS.build(model_config(name))
    model.load_state_dict(convert_state_dict(state, model), strict=True)


def test_small_pictures_are_those_of_the_function():
    def scale(name: str, **arguments):
        pipeline = whole_config(name, **arguments)['test_dataloader']['dataset']['pipeline']
        return [step['scale'] for step in pipeline if step['type'] == 'Resize']

    assert scale('fasterrcnn_mobilenet_v3_large_fpn') == [(1333, 800)]
    assert scale('fasterrcnn_mobilenet_v3_large_320_fpn') == [(640, 320)]
    assert scale('fasterrcnn_mobilenet_v3_large_320_fpn', min_size=400) == [(640, 400)]
    assert scale('ssdlite320_mobilenet_v3_large') == []  # its data preprocessor stretches them


@pytest.mark.parametrize(
    ('arguments', 'frozen'),
    [({}, 0), (dict(weights='COCO_V1'), 7), (dict(trainable_backbone_layers=0), 17), (dict(weights_backbone='X'), 7)],
)
def test_mobilenet_is_frozen_by_stages(arguments, frozen):
    backbone = model_config('fasterrcnn_mobilenet_v3_large_fpn', **arguments)['backbone']
    assert backbone['frozen_stages'] == frozen
    assert backbone['norm_cfg']['type'] == ('FrozenBN' if frozen == 7 else 'BN')


def test_ssdlite_is_narrow_unless_its_backbone_has_weights():
    assert model_config('ssdlite320_mobilenet_v3_large')['backbone']['reduced_tail']
    assert not model_config('ssdlite320_mobilenet_v3_large', weights_backbone='X')['backbone']['reduced_tail']
