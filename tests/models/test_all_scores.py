"""``test_cfg.return_all_scores``: the scores of all classes for each kept box, in every family that has such."""

import pytest
import torch

from mmdetlike.apis.results import to_dict
from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS
from mmdetlike.utils.settings import check_test_cfg
from tests.models.families import FAMILIES, PANOPTIC, build
from tests.models.tiny import make_sample, predict

# a corner or center is found class by class, and a mask of the grid or of queries has scores of masks
WITHOUT = {
    *('centernet', 'cornernet', 'centripetalnet'),
    *('solo', 'decoupled_solo', 'decoupled_solo_light', 'solov2'),
    'mask2former_instance',
}
# the score of a box is that of its class times a quality that the box has for this class alone
REFINED = {'ms_rcnn', 'sabl_cascade'}


def with_all_scores(name: str):
    """A detector that returns all scores."""
    model = build(name)
    for path, module in model.named_modules():
        if getattr(module, 'test_cfg', None) is not None and 'rpn' not in path:
            module.test_cfg['return_all_scores'] = True
    return model


@pytest.mark.parametrize('name', sorted(set(FAMILIES) - set(PANOPTIC) - {'rpn'}))
def test_each_box_has_the_scores_of_all_classes(name):
    samples = [make_sample(3, (64, 64), num_classes=3, scale_factor=(2.0, 1.0))]
    found = predict(with_all_scores(name), samples)[0].pred_instances
    if name in WITHOUT:
        assert 'all_scores' not in found
        return
    plain = predict(build(name), samples)[0].pred_instances
    assert torch.equal(found.scores, plain.scores) and torch.equal(found.labels, plain.labels)
    assert found.all_scores.shape == (len(found), 3)
    of_label = found.all_scores[torch.arange(len(found)), found.labels]
    if name not in REFINED:
        assert torch.equal(of_label, found.scores)


@pytest.mark.parametrize('name', sorted(WITHOUT))
def test_a_family_without_such_scores_says_so(name):
    cfg = FAMILIES[name](3)
    cfg['test_cfg'] = dict(cfg.get('test_cfg') or {}, return_all_scores=True)
    with pytest.raises(ConfigError, match=r'Head gives each object the score of its own class alone: leave test_cfg'):
        MODELS.build(cfg)


def test_they_are_written_and_only_a_switch_is_taken():
    sample = predict(with_all_scores('retinanet'), [make_sample(3, (64, 64), num_classes=3)])[0]
    written = to_dict(sample)
    assert len(written['all_scores']) == len(written['bboxes']) > 0
    assert all(len(scores) == 3 for scores in written['all_scores'])
    with pytest.raises(ConfigError, match=r"model\.test_cfg\.return_all_scores must be True or False, got 'yes'"):
        check_test_cfg(dict(test_cfg=dict(return_all_scores='yes')))
