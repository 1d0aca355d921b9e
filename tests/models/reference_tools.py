"""The recordings of the original implementations, and how a model of ours is held against one."""

import gzip
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parents[1] / 'data' / 'reference'


def recordings() -> list[str]:
    """Names of all recordings, e.g. ``rpn__rpn_r50_fpn_1x_coco``."""
    return sorted(path.name.removesuffix('.json.gz') for path in (FOLDER / 'models').glob('*.json.gz'))


def load(name: str) -> dict:
    """Read a recording."""
    with gzip.open(FOLDER / 'models' / f'{name}.json.gz', 'rt') as file:
        return json.load(file)


def compare_stages(recording: dict) -> Iterator[tuple[str, bool, str]]:
    """Yield (stage, whether it agrees, why not) for each stage that doesn't depend on the random generator."""
    for stage, agrees, why in _compare().stages(recording, 'mmdetlike'):
        if stage not in recording.get('random', ()):
            yield stage, bool(agrees), why


def _compare():
    """The module ``compare.py``, which imports its neighbour ``fill.py`` by its bare name."""
    name = 'mmdetlike_reference_compare'
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, FOLDER / 'compare.py')
        module = importlib.util.module_from_spec(spec)
        path = list(sys.path)
        try:
            spec.loader.exec_module(module)
        finally:
            sys.path[:] = path
        sys.modules[name] = module
    return sys.modules[name]
