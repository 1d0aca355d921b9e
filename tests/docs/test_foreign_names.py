"""Every name of ours that stands beside one of another toolbox can be imported."""

import importlib
import sys
from pathlib import Path

import pytest

from mmdetlike.utils import register_all_modules

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def names():
    register_all_modules()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / 'tools/docs'))
        yield importlib.import_module('foreign_names')
        del sys.modules['foreign_names']


def entries(names):
    return [row for section in names.read('detectron2').values() for row in section]


def test_every_name_of_ours_is_there(names):
    missing = []
    for _, ours, _ in entries(names):
        for path in names.our_names(ours):
            try:
                names.resolve(path)
            except LookupError as error:
                missing.append(str(error))
    assert missing == []


def test_what_is_not_covered_has_a_reason(names):
    assert [theirs for theirs, ours, remark in entries(names) if ours is None and not remark] == []


def test_no_name_stands_twice(names):
    every = [name.strip() for theirs, _, _ in entries(names) for name in theirs.split(',')]
    assert sorted(set(every)) == sorted(every)


def test_a_name_that_is_gone_is_noticed(names):
    with pytest.raises(LookupError, match=r'there is no mmdetlike\.structures\.BoxMode\.turn'):
        names.resolve('mmdetlike.structures.BoxMode.turn')
    with pytest.raises(LookupError, match='there is no nothing'):
        names.resolve('nothing.at.all')


def test_covered_names_are_counted(names):
    covered, missing = names.counts('detectron2')
    page = (ROOT / 'docs/names_detectron2.md').read_text()
    assert covered > 250 and f'{covered} names are covered, {missing} are not' in page
