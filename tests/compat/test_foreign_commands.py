"""Configs and checkpoints of other toolboxes where a command line or the inferencer takes ours."""

import pickle

import pytest
import torch
from mmengine.config import Config

from mmdetlike.apis import DetInferencer
from mmdetlike.apis.foreign import foreign_detector
from mmdetlike.cli.convert_model import main
from mmdetlike.cli.foreign import checkpoint_file, config_file
from mmdetlike.cli.get_flops import main as get_flops
from mmdetlike.cli.make_shapes import main as make_shapes
from mmdetlike.cli.optimize_anchors import main as optimize_anchors
from mmdetlike.cli.test import main as evaluate
from mmdetlike.cli.train import main as train
from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS
from mmdetlike.utils.checkpoint import read_checkpoint
from tests.models.reference_tools import FOLDER, load, module

RETINANET = """
MODEL:
  META_ARCHITECTURE: "RetinaNet"
  BACKBONE: {NAME: "build_retinanet_resnet_fpn_backbone"}
  RESNETS: {DEPTH: 18, RES2_OUT_CHANNELS: 64, OUT_FEATURES: ["res3", "res4", "res5"]}
  FPN: {IN_FEATURES: ["res3", "res4", "res5"], OUT_CHANNELS: 16}
  RETINANET: {NUM_CONVS: 1}
"""


@pytest.fixture
def yaml(tmp_path):
    path = tmp_path / 'retina.yaml'
    path.write_text(RETINANET)
    return path


@pytest.mark.filterwarnings('ignore:not translated')
def test_a_yaml_file_stands_for_a_config_of_ours(yaml):
    path = config_file(yaml)
    assert path.name == 'retina.py'
    cfg = Config.fromfile(path)
    assert cfg.model.type == 'RetinaNet'
    assert cfg.val_evaluator.ann_file == 'data/coco/annotations/instances_val2017.json'
    assert config_file('torchvision://fcos_resnet50_fpn?score_thresh=0.3').name == 'fcos_resnet50_fpn.py'


def test_configs_and_checkpoints_of_ours_stay(tmp_path):
    assert config_file('faster-rcnn_r50_fpn_1x_coco').name == 'faster-rcnn_r50_fpn_1x_coco.py'
    assert checkpoint_file('x.pth', 'faster-rcnn_r50_fpn_1x_coco') == 'x.pth'
    with pytest.raises(FileNotFoundError, match=r'nowhere\.yaml does not exist'):
        config_file(tmp_path / 'nowhere.yaml')


@pytest.mark.filterwarnings('ignore:not translated')
def test_the_inferencer_takes_a_yaml_file_and_its_own_checkpoint_stays(yaml, tmp_path):
    with pytest.warns(UserWarning, match='no weights were given'):
        inferencer = DetInferencer(str(yaml), device='cpu')
    assert type(inferencer.model).__name__ == 'RetinaNet'
    ours = tmp_path / 'ours.pth'
    torch.save(dict(state_dict=inferencer.model.state_dict(), meta={}), ours)
    assert checkpoint_file(str(ours), yaml) == str(ours)


@pytest.mark.filterwarnings('ignore:not translated')
def test_convert_model_writes_files_that_need_no_translation(yaml, tmp_path, capsys):
    model = foreign_detector(yaml).config.model
    theirs = MODELS.build(model).state_dict()
    # the other way round: parameters that both call the same are enough to see that values arrive
    state = {'head.cls_score.weight': torch.rand_like(theirs['bbox_head.retina_cls.weight'])}
    torch.save(dict(model=state), tmp_path / 'model_final.pth')
    out = tmp_path / 'new' / 'mine.py'
    main([str(yaml), str(out), str(tmp_path / 'model_final.pth')])
    assert capsys.readouterr().out.splitlines() == [f'written to {out}', f'written to {out.with_suffix(".pth")}']
    assert Config.fromfile(out).model.to_dict() == Config.fromfile(config_file(yaml)).model.to_dict()
    assert Config.fromfile(out).load_from == str(out.with_suffix('.pth'))
    written = torch.load(out.with_suffix('.pth'), weights_only=True)['state_dict']
    assert torch.equal(written['bbox_head.retina_cls.weight'], state['head.cls_score.weight'])
    with pytest.raises(ConfigError, match=r'mine\.py exists: choose another name for OUT'):
        main([str(yaml), str(out)])
    with pytest.raises(ConfigError, match='faster-rcnn_r50_fpn_1x_coco is no detector of another toolbox'):
        main(['faster-rcnn_r50_fpn_1x_coco', str(tmp_path / 'other.py')])


@pytest.mark.filterwarnings('ignore:not translated')
def test_convert_model_takes_the_weights_that_the_yaml_file_names(yaml, tmp_path):
    state = {'head.cls_score.weight': torch.rand(720, 16, 3, 3)}
    weights = tmp_path / 'model_final.pkl'
    weights.write_bytes(pickle.dumps(dict(model={name: value.numpy() for name, value in state.items()})))
    yaml.write_text(yaml.read_text().replace('MODEL:', f'MODEL:\n  WEIGHTS: "{weights}"'))
    out = tmp_path / 'mine.py'
    main([str(yaml), str(out)])
    assert Config.fromfile(out).load_from == str(tmp_path / 'mine.pth')
    written = read_checkpoint(tmp_path / 'mine.pth')['state_dict']
    assert torch.equal(written['bbox_head.retina_cls.weight'], state['head.cls_score.weight'])


@pytest.mark.filterwarnings('ignore:not translated')
def test_weights_that_a_training_starts_from_stay_in_its_folder(yaml, tmp_path):
    torch.save(dict(model={'head.cls_score.weight': torch.rand(720, 16, 3, 3)}), tmp_path / 'theirs.pth')
    path = checkpoint_file(str(tmp_path / 'theirs.pth'), yaml, tmp_path / 'work')
    assert path == str(tmp_path / 'work/started_from_theirs.pth')
    assert 'bbox_head.retina_cls.weight' in read_checkpoint(path)['state_dict']


@pytest.mark.filterwarnings('ignore:not translated')
def test_commands_that_look_at_a_config_take_the_yaml_file(yaml, capsys):
    get_flops([str(yaml), '--shape', '64'])
    assert 'multiply-adds' in capsys.readouterr().out
    # which reached its model: a RetinaNet of Detectron2 has anchors of its own type
    with pytest.raises(ConfigError, match=r"got model\.bbox_head\.anchor_generator of type 'SizedAnchorGenerator'"):
        optimize_anchors([str(yaml)])


@pytest.mark.slow
def test_a_torchvision_name_trains_and_tests(tmp_path):
    make_shapes([str(tmp_path / 'shapes'), '--num-train', '2', '--num-val', '2', '--size', '96'])
    name = 'torchvision://fasterrcnn_mobilenet_v3_large_320_fpn?num_classes=6&min_size=96&max_size=96'
    options = ['train_cfg.max_epochs=1', f'test_evaluator.ann_file={tmp_path}/shapes/annotations/instances_val.json']
    options.append(options[-1].replace('test_', 'val_', 1))
    for loader, part in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        options += [
            f'{loader}_dataloader.num_workers=0',
            f'{loader}_dataloader.persistent_workers=False',
            f'{loader}_dataloader.dataset.data_root={tmp_path}/shapes',
            f'{loader}_dataloader.dataset.ann_file=annotations/instances_{part}.json',
            f'{loader}_dataloader.dataset.data_prefix.img={part}',
            f'{loader}_dataloader.dataset.metainfo.classes=circle,triangle,square,star,cross',
        ]
    # with weights of another number of classes, as of torchvision
    recording = load('tv__fasterrcnn_mobilenet_v3_large_fpn', FOLDER / 'foreign')
    torch.save(module('fill_state').state(recording['state']), tmp_path / 'published.pth')
    published = f'load_from={tmp_path}/published.pth'
    train([name, '--work-dir', str(tmp_path / 'work'), '--cfg-options', *options, published])
    trained = read_checkpoint(tmp_path / 'work/epoch_1.pth')['state_dict']
    assert trained['roi_head.bbox_head.fc_cls.weight'].shape == (6, 1024)
    written = tmp_path / 'work/started_from_published.pth'
    assert Config.fromfile(next((tmp_path / 'work').glob('*.py'))).load_from == str(written) and written.is_file()
    tests = [option for option in options if option.startswith('test_')]
    arguments = [name, str(tmp_path / 'work/epoch_1.pth'), '--work-dir', str(tmp_path / 'test')]
    evaluate([*arguments, '--cfg-options', *tests])
    assert list((tmp_path / 'test').rglob('*.json'))
