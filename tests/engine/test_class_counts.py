"""Which heads are held to the classes of the dataset."""

from types import SimpleNamespace

import pytest
from torch import nn

from mmdetlike.apis.detector import count_classes
from mmdetlike.engine.hooks.checks import NumClassCheckHook
from mmdetlike.errors import ConfigError
from mmdetlike.models.heads.dense import RPNHead


class Classifier(nn.Module):
    """Something that has classes."""

    def __init__(self, num_classes: int, predicts_dataset_classes: bool | None = None) -> None:
        super().__init__()
        self.num_classes = num_classes
        if predicts_dataset_classes is not None:
            self.predicts_dataset_classes = predicts_dataset_classes


def check(model: nn.Module) -> None:
    dataset = SimpleNamespace(metainfo=dict(classes=('cat', 'dog', 'cow')))
    NumClassCheckHook().before_val(SimpleNamespace(model=model, val_dataloader=SimpleNamespace(dataset=dataset)))


def test_a_head_that_says_nothing_is_held_to_the_dataset():
    check(nn.ModuleDict(dict(bbox_head=Classifier(3))))
    with pytest.raises(
        ConfigError, match=r'bbox_head \(Classifier\) predicts num_classes=4, but SimpleNamespace has 3'
    ):
        check(nn.ModuleDict(dict(bbox_head=Classifier(4))))


def test_a_head_of_other_classes_says_so_under_any_name():
    model = nn.ModuleDict(dict(first=RPNHead(8), pixels=Classifier(183, False), boxes=Classifier(3)))
    check(model)
    assert count_classes(model) == 3


def test_the_name_of_a_head_does_not_matter():
    with pytest.raises(ConfigError, match='my_rpn_head'):
        check(nn.ModuleDict(dict(my_rpn_head=Classifier(5))))
