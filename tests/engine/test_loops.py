"""Arguments of the loops of training."""

import pytest

from mmdetlike.engine.loops import as_pairs
from mmdetlike.errors import ConfigError


def test_intervals_may_be_lists_as_json_and_yaml_have_them():
    assert as_pairs([[280, 1], (290, 2)]) == [(280, 1), (290, 2)]
    assert as_pairs(None) is None


@pytest.mark.parametrize('wrong', [280, [280, 1], [[280]], [['280', 1]], '280'])
def test_other_intervals_are_refused(wrong):
    with pytest.raises(ConfigError, match=r'dynamic_intervals=.*; expected pairs of whole numbers, as \[\(280, 1\)\]'):
        as_pairs(wrong)
