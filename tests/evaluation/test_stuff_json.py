"""Classes of pixels as COCO's stuff challenge wants them."""

import json

import numpy as np
import pytest
import torch

from mmdetlike.errors import ConfigError
from mmdetlike.evaluation.metrics.stuff_json import semantic_to_coco
from mmdetlike.structures.mask import rle_to_bitmap


def test_one_entry_for_each_class():
    classes = torch.tensor([[[0, 0, 2], [255, 2, 2]]])
    entries = semantic_to_coco(classes, 'a.jpg', category_ids=[92, 93, 94])
    assert [(entry['file_name'], entry['category_id']) for entry in entries] == [('a.jpg', 92), ('a.jpg', 94)]
    again = json.loads(json.dumps(entries))
    assert np.array_equal(rle_to_bitmap(again[1]['segmentation']).astype(bool), classes[0].numpy() == 2)
    assert [entry['category_id'] for entry in semantic_to_coco(classes[0].numpy(), 'a.jpg')] == [0, 2, 255]
    assert semantic_to_coco(np.full((2, 2), 255), 'a.jpg', category_ids=[1]) == []
    with pytest.raises(ConfigError, match=r'a\.jpg: expected classes of shape \(h, w\), got \(2, 3, 3\)'):
        semantic_to_coco(np.zeros((2, 3, 3)), 'a.jpg')
