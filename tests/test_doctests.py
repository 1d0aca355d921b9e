"""The examples in docstrings of the package compute what they print."""

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    path.relative_to(ROOT).with_suffix('').as_posix().replace('/', '.')
    for package in ('mmdetlike', 'mmdetlike_ops')
    for path in (ROOT / package).rglob('*.py')
    if '>>> ' in path.read_text()
)


@pytest.mark.parametrize('name', MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    settings = dict(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    results = doctest.testmod(module, extraglobs=dict(torch=torch, np=np), **settings)
    assert results.attempted > 0 and results.failed == 0
