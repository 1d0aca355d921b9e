"""Configs: those of OpenMMLab's scopes run unmodified, and mistakes are named together with their place."""

import copy

import pytest
from mmengine.config import Config

from mmdetlike import registry
from mmdetlike.datasets.errors import DataError
from mmdetlike.errors import ConfigError
from mmdetlike.registry import DATASETS, MODELS, TRANSFORMS
from mmdetlike.utils import register_all_modules
from mmdetlike.utils.config import key_path, load_config, locate, located, require
from mmdetlike.utils.settings import check_test_cfg
from tests.utils import ROOT, tiny_config, train, without_validation

QUICKSTART = ROOT / 'configs' / 'quickstart' / 'faster-rcnn_r18_fpn_shapes.py'

register_all_modules()


# layers and functions of the ops package, which its configs never name with a scope
NOT_OF_A_REGISTRY = ('roi_layer', 'nms')


def prefixed(node, prefix: str):
    """All types of a config under a scope."""
    if isinstance(node, dict):
        scoped = {key: value if key in NOT_OF_A_REGISTRY else prefixed(value, prefix) for key, value in node.items()}
        if isinstance(scoped.get('type'), str):
            scoped['type'] = prefix + scoped['type']
        return scoped
    if isinstance(node, (list, tuple)):
        return type(node)(prefixed(value, prefix) for value in node)
    return node


def test_configs_of_another_scope_run_unmodified(tmp_path):
    plain = without_validation(tiny_config(tmp_path / 'a', train_cfg=dict(max_epochs=1)))
    scoped = without_validation(tiny_config(tmp_path / 'b', train_cfg=dict(max_epochs=1)))
    scoped.default_scope = 'mmdet'
    scoped.model = prefixed(scoped.model.to_dict(), 'mmdet.')
    scoped.visualizer.type = 'mmdet.DetLocalVisualizer'
    scoped.train_dataloader = prefixed(scoped.train_dataloader.to_dict(), 'mmdet.')
    scoped.train_dataloader.dataset.pipeline[1].type = 'mmcv.LoadAnnotations'
    assert train(scoped)[1] == train(plain)[1]


@pytest.mark.parametrize('scope', ['mmdet.', 'mmcv.', 'mmdetlike.', ''])
def test_scopes_name_the_same_class(scope):
    assert TRANSFORMS.get(f'{scope}LoadImageFromFile') is TRANSFORMS.get('LoadImageFromFile')
    assert TRANSFORMS.get(f'{scope}LoadImageFromFile').__module__.startswith('mmdetlike.')


@pytest.mark.parametrize(
    'change, parts',
    [
        (dict(backbone=dict(type='ResNt')), ["type='ResNt' is not in the 'model' registry", 'Closest names: ResNet']),
        (dict(backbone=dict(dept=18)), ["'dept' is not an argument; did you mean 'depth'?", "type='ResNet'"]),
        (
            dict(roi_head=dict(bbox_head=dict(num_class=5))),
            ["'num_class' is not an argument; did you mean 'num_classes'?"],
        ),
        (dict(neck=dict(_delete_=True, type='FPN', num_outs=3)), ['missing 2 required', 'in_channels']),
    ],
)
def test_wrong_types_and_arguments(change, parts, tmp_path):
    cfg = without_validation(tiny_config(tmp_path))
    cfg.merge_from_dict(dict(model=copy.deepcopy(change)))
    with pytest.raises(ConfigError) as caught:
        train(cfg)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    'path, key, value',
    [
        ('model.backbone', 'type', 'ResNt'),
        ('model.backbone', 'dept', 18),
        ('model.roi_head.bbox_head.loss_cls', 'type', 'CrosEntropyLoss'),
        ('model.train_cfg.rpn.assigner', 'pos_iou', 0.5),
        ('train_dataloader.dataset.pipeline[2]', 'probability', 0.5),
        ('train_dataloader.sampler', 'type', 'DefaultSample'),
        ('optim_wrapper.optimizer', 'type', 'SDG'),
        ('optim_wrapper.optimizer', 'learning_rate', 0.1),
        ('param_scheduler[0]', 'type', 'LinearLr'),
        ('default_hooks.checkpoint', 'type', 'ChekpointHook'),
        ('visualizer', 'type', 'DetLocalVisualiser'),
    ],
)
def test_the_key_path_is_told(path, key, value, tmp_path):
    cfg = without_validation(tiny_config(tmp_path))
    cfg.param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=2)]
    eval(f'cfg.{path}')[key] = value
    with pytest.raises(ConfigError) as caught:
        train(cfg)
    assert f': {path}: ' in locate(caught.value, cfg), locate(caught.value, cfg)
    assert str(value if key == 'type' else key) in str(caught.value)


@pytest.mark.parametrize(
    'path, value, parts',
    [
        ('model.backbone.depth', 7, ["type='ResNet'"]),
        ('model.backbone.base_channels', 'abc', ["type='ResNet': base_channels must be int, got 'abc' of type str"]),
        ('model.neck.num_outs', 1, ["type='FPN'"]),
        ('model.rpn_head.anchor_generator.strides', 'abc', ["type='AnchorGenerator'"]),
        ('train_dataloader.dataset.length', 'many', ["type='ShapesDataset'"]),
        ('train_dataloader.dataset.pipeline[2].prob', 7, ["type='RandomFlip'"]),
        ('train_dataloader.sampler.shufle', True, ["'shufle' is not an argument; did you mean 'shuffle'?"]),
        ('default_hooks.checkpoint.intervall', 3, ["'intervall' is not an argument; did you mean 'interval'?"]),
        ('optim_wrapper.optimizer.momentum', 'abc', ["type='SGD': momentum must be float, got 'abc' of type str"]),
    ],
)
def test_bad_values_are_told_with_type_and_place(path, value, parts, tmp_path):
    cfg = without_validation(tiny_config(tmp_path))
    cfg.param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=2)]
    cfg.train_cfg.max_epochs = 1
    cfg.train_dataloader.dataset.length = 4
    place, key = path.rsplit('.', 1)
    eval(f'cfg.{place}')[key] = value
    with pytest.raises(ConfigError) as caught, located(cfg):
        train(cfg)
    for part in [f'.py: {place}: ', *parts]:
        assert part in str(caught.value)


class Fails:
    """Raises what it is given, or the error that its argument makes on the way."""

    def __init__(self, error=None, inner=None, build=None, **kwargs) -> None:
        if inner is not None:
            inner = dict(inner)
            inner.pop('taken', None)  # as constructors do
            build(inner)
        raise error

    @classmethod
    def from_cfg(cls, cfg):
        """Built as a runner is."""
        raise cfg['error']


@pytest.mark.parametrize(
    'path, value, sentence',
    [
        (
            'optim_wrapper.optimizer.lr',
            'abc',
            "optim_wrapper.optimizer.lr='abc': it should be a finite number, at least 0",
        ),
        (
            'optim_wrapper.optimizer.lr',
            -1.0,
            'optim_wrapper.optimizer.lr=-1.0: it should be a finite number, at least 0',
        ),
        ('param_scheduler[0].end', 0, 'param_scheduler.0.end=0: it should be a positive whole number'),
        ('train_cfg.max_epochs', 'ten', "train_cfg.max_epochs='ten': it should be a positive whole number"),
    ],
)
def test_bad_numbers_are_told_with_their_key(path, value, sentence, tmp_path):
    cfg = without_validation(tiny_config(tmp_path))
    cfg.param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=2)]
    place, key = path.rsplit('.', 1)
    eval(f'cfg.{place}')[key] = value
    with pytest.raises(ConfigError) as caught, located(cfg):
        train(cfg)
    assert str(caught.value).endswith(f'.py: {sentence}')


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(data_prefix='img/'), "data_prefix='img/' should be a dict: write dict(img='img/')"),
        (dict(ann_file=3), 'ann_file=3 should be one path'),
        (dict(pipeline=3), 'pipeline must be list, got 3 of type int'),
    ],
)
def test_arguments_of_other_types_are_named(arguments, message):
    with pytest.raises(ConfigError) as caught:
        DATASETS.build(dict(type='CocoDataset', **arguments))
    assert message in str(caught.value)


ALL_REGISTRIES = [item for item in vars(registry).values() if isinstance(item, registry.Registry)]
RAISED = [
    ValueError('lr must be positive'),
    KeyError('lr'),
    KeyError('metric must be one of a and b'),
    TypeError('not a number'),
    AssertionError(),
    ZeroDivisionError('division by zero'),
    RuntimeError('negative dimension'),
]


@pytest.mark.parametrize('kind', ALL_REGISTRIES, ids=lambda kind: kind.name)
@pytest.mark.parametrize('error', RAISED, ids=lambda error: type(error).__name__)
def test_each_registry_names_type_and_place(kind, error, monkeypatch):
    for origin in (kind, kind.parent):  # the Runner builds through mmengine's
        monkeypatch.setitem(origin._module_dict, 'Fails', Fails)
        cfg = Config(
            dict(other=dict(type='Other'), part=[dict(type='Fails', runner_type='Fails', error=error, mode=1)])
        )
        with pytest.raises(ConfigError) as caught, located(cfg):
            origin.build(cfg.part[0])
        start = "the config: part[0]: type='Fails'"
        assert str(caught.value).startswith(start)
        assert str(*error.args) in str(caught.value)
        is_sentence = isinstance(error, ValueError) or 'must be' in str(error)
        assert is_sentence or type(error).__name__ in str(caught.value)


@pytest.mark.parametrize('error', [DataError('a.json: no images'), FileNotFoundError('a.pth does not exist')])
def test_errors_that_speak_for_themselves_stay(error, monkeypatch):
    monkeypatch.setitem(MODELS._module_dict, 'Fails', Fails)
    with pytest.raises(type(error), match=str(error)):
        MODELS.build(dict(type='Fails', error=error))


def test_nested_builds_tell_the_innermost_place(monkeypatch):
    """Also where the same dict stands elsewhere too, and where the owner has taken arguments out of it."""
    monkeypatch.setitem(MODELS._module_dict, 'Fails', Fails)
    inner = dict(type='Fails', error=ValueError('no'), taken=1)
    cfg = Config(dict(a=dict(head=inner), b=[dict(type='Fails', inner=inner, build=MODELS.build)]))
    with pytest.raises(ConfigError, match=r"^the config: b\[0\]\.inner: type='Fails': no$"), located(cfg):
        MODELS.build(cfg.b[0])


def test_a_place_is_told_once():
    cfg = Config(dict(a=dict(type='ResNt')))
    with pytest.raises(ConfigError, match=r"^the config: a: type='ResNt' is"), located(cfg), located(cfg):
        MODELS.build(cfg.a)


@pytest.mark.parametrize(
    'cfg, message', [([1], 'a model is configured by a dict'), (dict(depth=1), 'got one with depth')]
)
def test_what_is_no_config_of_a_part(cfg, message):
    with pytest.raises(ConfigError, match=message):
        MODELS.build(cfg)


def test_key_path():
    tree = dict(a=dict(type='A', x=[dict(y=1), (dict(y=2),)]))
    assert key_path(tree, lambda node: node.get('y') == 2) == 'a.x[1][0]'
    assert key_path(tree, lambda node: node.get('type') == 'A') == 'a'
    assert key_path(tree, lambda node: False) is None


def test_missing_config_file():
    with pytest.raises(FileNotFoundError, match=r'does not exist; did you mean .*faster-rcnn_r18_fpn_shapes.py'):
        load_config(QUICKSTART.with_name('faster_rcnn_r18_fpn_shapes.py'))
    with pytest.raises(FileNotFoundError, match='there is no folder nowhere'):
        load_config('nowhere/a.py')


@pytest.mark.parametrize(
    'text, message',
    [
        ('model = dict(', r'config.py is not valid Python: .* \(line 1\)'),
        ('model = dict(type=undefined)', "could not be read: NameError: name 'undefined'"),
        ('raise RuntimeError("boom")', 'could not be read: RuntimeError: boom'),
        ("_base_ = './missing.py'", 'a base config is missing: .*missing.py'),
        (
            "_base_ = '../faster_rcnn/faster_rcnn_r50_fpn_1x_coco.py'",
            "today's form, _base_ = 'mmdetlike::faster-rcnn_r50_fpn_1x_coco'",
        ),
        ("_base_ = './base.py'\nmodel = dict(type='B')\nx = {{_base_.nothing}}", 'could not be read'),
    ],
)
def test_malformed_config_file(text, message, tmp_path):
    (tmp_path / 'base.py').write_text("model = dict(type='A')")
    (tmp_path / 'config.py').write_text(text)
    with pytest.raises((ConfigError, FileNotFoundError), match=message):
        load_config(tmp_path / 'config.py')


def test_cfg_options():
    cfg = load_config(QUICKSTART, {'model.backbone.depth': 50, 'param_scheduler.0.end': 7, 'new.key': 1})
    assert (cfg.model.backbone.depth, cfg.param_scheduler[0]['end'], cfg.new.key) == (50, 7, 1)


@pytest.mark.parametrize(
    'options', [{'param_scheduler.9.end': 7}, {'param_scheduler.x': 7}, {'train_cfg.max_epochs.y': 1}]
)
def test_bad_cfg_options(options):
    with pytest.raises(ConfigError, match=r'--cfg-options .* does not fit .*faster-rcnn_r18_fpn_shapes.py'):
        load_config(QUICKSTART, options)


def test_required_keys(tmp_path):
    (tmp_path / 'config.py').write_text('model = dict()')
    with pytest.raises(ConfigError, match=r'config.py has no train_cfg, optim_wrapper; its top-level keys are .*model'):
        require(load_config(tmp_path / 'config.py'), 'model', 'train_cfg', 'optim_wrapper')


def test_no_class_of_ours_is_hidden_by_one_of_mmengine():
    assert MODELS.get('mmdet.ResNet').__module__ == 'mmdetlike.models.backbones.resnet'


@pytest.mark.parametrize('kind', [3, len, None])
def test_types_that_are_no_classes(kind):
    with pytest.raises(ConfigError, match='type='):
        MODELS.build(dict(type=kind, a=1))


@pytest.mark.parametrize('word', ['False', 'no', '0', 'true'])
def test_text_is_no_truth_value(word):
    step = dict(type='LoadAnnotations', with_mask=word)
    with pytest.raises(ConfigError, match=rf"^type='LoadAnnotations': with_mask must be True or False, got .*'{word}'"):
        TRANSFORMS.build(step)
    with pytest.raises(ConfigError, match=rf"test_mode must be True or False, got the text '{word}'"):
        DATASETS.build(dict(type='CocoDataset', ann_file='a.json', test_mode=word))


def test_no_predictions_cannot_be_asked_for():
    model = dict(test_cfg=dict(rcnn=dict(max_per_img=0)))
    with pytest.raises(ConfigError, match=r'^model.test_cfg.rcnn.max_per_img=0 would not mean none: write -1 for all'):
        check_test_cfg(model)
    check_test_cfg(dict(test_cfg=dict(rcnn=dict(max_per_img=-1), nms_pre=0)))
    for settings, message in (
        (dict(max_per_img=2.5), r'^model\.test_cfg\.max_per_img=2\.5: expected a whole number'),
        (dict(max_per_img=None), 'max_per_img must be a number, got the NoneType None'),
        (dict(score_thr=float('nan')), 'score_thr must be a number, got the float nan'),
        (dict(nms=dict(iou_threshold=0.5, max_num='3')), r'nms\.max_num must be a number'),
    ):
        with pytest.raises(ConfigError, match=message):
            check_test_cfg(dict(test_cfg=settings))


@pytest.mark.parametrize(
    'nms, message',
    [
        (dict(iou_thresh=0.3), r"\{'iou_thresh': 0\.3\}: batched_nms: a key of nms_cfg is 'iou_thresh', one of"),
        (dict(type='soft_nms', iou_threshold=0.3, method='x'), "soft_nms: method is 'x', one of"),
        (dict(iou_threshold=3), 'iou_threshold is 3, a number from 0 to 1 is expected'),
        ({}, "it needs 'iou_threshold'"),
    ],
)
def test_suppressions_are_tried_before_anything_is_predicted(nms, message):
    for model in (dict(test_cfg=dict(rcnn=dict(nms=nms))), dict(train_cfg=dict(rpn_proposal=dict(nms=nms)))):
        with pytest.raises(ConfigError, match=rf'^model\..*\.nms=.*{message}'):
            check_test_cfg(model)


@pytest.mark.parametrize(
    'nms', [None, dict(iou_thr=0.3), dict(type='nms_rotated', iou_threshold=0.1), dict(type='mine', sigma='of my head')]
)
def test_suppressions_that_are_right_or_of_ones_own(nms):
    check_test_cfg(dict(test_cfg=[dict(nms=nms), dict(rcnn=dict(nms=nms))]))
