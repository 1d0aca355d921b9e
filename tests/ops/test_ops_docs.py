"""The table of operators in docs/ops.md says what the code does."""

import re
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode

import mmdetlike_ops

from .cases import CASES
from .test_ops_all import calls_of

PAGE = Path(__file__).parents[2] / 'docs' / 'ops.md'
pytestmark = pytest.mark.skipif(not PAGE.exists(), reason='needs the source tree')
HEADER = '| operator | CPU | CUDA | backward | twice | compile | export | repeatable | dtypes | formula and source |'


def rows():
    """(names, the other cells) of each row of the tables of operators."""
    for table in PAGE.read_text().split(HEADER)[1:]:
        for line in table.split('\n\n')[0].splitlines()[2:]:
            cells = [cell.strip() for cell in line.strip('|').split('|')]
            yield re.findall('`(.*?)`', cells[0]), dict(zip(HEADER.strip('| ').split(' | ')[1:], cells[1:]))


def is_compiled(operator):
    """Whether an operator has a kernel of C++, not one that is made of torch's operations."""
    return torch._C._dispatch_has_kernel_for_dispatch_key(operator.name(), 'CPU')


def cells_of(name):
    return next(cells for names, cells in rows() if name in names)


def test_every_name_has_one_row():
    names = [name for row, _ in rows() for name in row]
    assert sorted(names) == sorted(mmdetlike_ops.__all__)


@pytest.mark.parametrize('name', CASES)
def test_rows_agree_with_the_code(name):
    case, cells = CASES[name], cells_of(name.split()[0])
    assert cells['backward'] == (', '.join(case.grads) or '–')
    assert cells['twice'] == ('–' if not case.grads else 'yes' if case.twice else 'no')
    calls = {name: call for name, call in calls_of(case).items() if is_compiled(call[0])}
    assert cells['CPU'] == cells['CUDA'] == ('kernel' if calls else 'torch')
    if calls:
        last = [operator._schema.arguments[-1].name for operator, _ in calls.values()]
        assert cells['repeatable'] == ('on request' if 'deterministic' in last else 'yes')


@pytest.mark.parametrize('name', CASES)
def test_sizes_that_depend_on_data_are_marked(name):
    case, mode = CASES[name], FakeTensorMode()
    tensors = {key: mode.from_tensor(x.detach()) for key, x in case.tensors().items()}
    with mode:
        try:
            case.run(tensors)
            marked = 'yes'
        except DynamicOutputShapeException:
            marked = 'data'
    assert cells_of(name.split()[0])['compile'] == marked
