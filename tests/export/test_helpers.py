"""The comparison of programs with models tells results that differ from results that rounding may change."""

import pytest
import torch

from tests.export.helpers import assert_equal_results, settled_count

SCORES = torch.tensor([0.9, 0.8, 0.5, 0.5 - 1e-7, 0.5 - 2e-7])
BOXES = torch.arange(20.0).view(5, 4)


class Model:
    """Finds five objects, of which the last three have the same score but for rounding."""

    def detect(self, image):
        return [dict(boxes=BOXES, scores=SCORES, labels=torch.zeros(5, dtype=torch.long))]


def program(*rows: int):
    """A program of as many rows, which returns these objects of the model."""

    def run(image):
        found = {name: value[list(rows)] for name, value in Model().detect(image)[0].items()}
        return dict(found, count=torch.tensor(len(rows)))

    return run


@pytest.mark.parametrize('rows', [(0, 1, 2), (0, 1, 4), (1, 0, 3, 4), (0, 1), (0, 1, 4, 3, 2)])
def test_objects_with_the_score_at_the_limit_are_interchangeable(rows):
    assert assert_equal_results(program(*rows), Model(), [None]) == [len(rows)]


@pytest.mark.parametrize('rows', [(0, 2), (0, 2, 3), (1, 2, 3, 4), (0, 1, 2, 2), (0, 1, 2, 2, 4)])
def test_other_objects_and_repeated_ones_are_not(rows):
    with pytest.raises(AssertionError):
        assert_equal_results(program(*rows), Model(), [None])


def test_all_objects_are_settled_where_there_are_no_more_than_the_limit():
    assert settled_count(SCORES, 5) == 5
    assert settled_count(SCORES, 4) == 2
    assert settled_count(SCORES, 2) == 2
    assert settled_count(SCORES, 0) == 0
