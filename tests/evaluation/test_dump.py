import pickle

import numpy as np
import pytest
import torch
from faster_coco_eval.core import mask as rle
from mmengine.structures import InstanceData

from mmdetlike.datasets.proposals import read_proposals
from mmdetlike.evaluation import DumpDetResults, DumpProposals


def sample(**extra):
    return {
        'img_path': '/data/val/7.jpg',
        'img_id': 7,
        'gt_instances': {'bboxes': torch.zeros(1, 4)},
        'pred_instances': {
            'bboxes': torch.tensor([[0.0, 0, 5, 5], [1, 1, 8, 8]]),
            'scores': torch.tensor([0.2, 0.9]),
            'labels': torch.tensor([1, 0]),
            **extra,
        },
    }


def test_predictions_come_back_without_ground_truth_and_with_encoded_masks(tmp_path):
    masks = torch.zeros(2, 10, 12, dtype=torch.bool)
    masks[1, 2:5, 3:9] = True
    path = tmp_path / 'out.pkl'
    metric = DumpDetResults(out_file_path=str(path))
    metric.process(None, [sample(masks=masks)])
    metric.evaluate(1)
    (result,) = pickle.loads(path.read_bytes())
    assert set(result) == {'img_path', 'img_id', 'pred_instances'}
    assert result['pred_instances']['scores'].tolist() == pytest.approx([0.2, 0.9])
    assert (rle.decode(result['pred_instances']['masks'][1]) == masks[1].numpy()).all()


def test_the_file_must_be_a_pickle():
    with pytest.raises(ValueError, match='pkl'):
        DumpDetResults(out_file_path='out.json')
    with pytest.raises(ValueError, match=r"end in \.pkl or \.pickle, got 'out\.json'"):
        DumpProposals(proposals_file='out.json')


def test_proposals_come_back_best_first(tmp_path):
    metric = DumpProposals(output_dir=str(tmp_path), proposals_file='p.pkl', num_max_proposals=1)
    metric.process(None, [sample()])
    metric.evaluate(1)
    proposals = read_proposals(str(tmp_path / 'p.pkl'))
    assert list(proposals) == ['val/7.jpg']
    assert proposals['val/7.jpg']['bboxes'].tolist() == [[1, 1, 8, 8]]
    assert proposals['val/7.jpg']['scores'].tolist() == pytest.approx([0.9])


def test_proposals_of_the_toolbox_that_users_come_from_can_be_read(tmp_path):
    found = InstanceData(bboxes=np.ones((3, 4), np.float32), scores=np.ones(3, np.float32))
    (tmp_path / 'p.pkl').write_bytes(pickle.dumps({'val/1.jpg': found}))
    assert read_proposals(str(tmp_path / 'p.pkl'))['val/1.jpg']['bboxes'].shape == (3, 4)
