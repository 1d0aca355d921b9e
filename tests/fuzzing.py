"""Strategies that change annotation files, for the tests of everything that reads them.

``FUZZ_EXAMPLES=100000`` looks at more files than a run of all tests has time for; ``--hypothesis-show-statistics``
tells how many of them were read and how many refused.
"""

import contextlib
import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st

from mmdetlike.errors import UserError

fuzzed = settings(
    max_examples=int(os.environ.get('FUZZ_EXAMPLES', 10)),
    # always the same few, so that a change is not blamed for what only chance has found
    derandomize='FUZZ_EXAMPLES' not in os.environ,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

numbers = st.one_of(
    st.integers(-3, 200),
    st.sampled_from([0, -1, 2**31, 2**53 + 1, 2**63, 2**64, 10**30, 10**400]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([1e30, 1e308, 1e-320, -0.0]),
)
scalars = st.one_of(
    numbers, st.none(), st.booleans(), st.text(max_size=4), st.sampled_from(['1', '96', 'cat', '1e9', 'a/b', '\ud800'])
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=7),
        st.dictionaries(st.sampled_from(['id', 'name', 'size', 'counts', 'x', '']), inner, max_size=3),
        st.lists(numbers, min_size=4, max_size=8),
    ),
    max_leaves=6,
)


def alike(value: object) -> st.SearchStrategy:
    """Values that may stand in the place of another one: read in the same way, or wrong in a way that is met."""
    if isinstance(value, dict):
        return st.sampled_from([{}, [value], list(value), list(value.values()), None])
    if isinstance(value, list):
        return _alike_list(value)
    if isinstance(value, str):
        others = [
            '',
            ' ',
            'cat',
            'dog',
            'é',
            '1',
            value.upper(),
            f' {value}',
            f'{value}\n',
            f'../{value}',
            [value],
            None,
        ]
        return st.one_of(st.sampled_from(others), st.text(max_size=3))
    if isinstance(value, (int, float)) and -1e300 < value < 1e300:  # not beyond what a float can be
        near = [value + 1, value - 1, value + 0.5, -value, value * 100, value / 3]
        forms = [float(value), str(value), f'{value}.0', [value], bool(value), None]
        return st.one_of(st.sampled_from(near), st.sampled_from(forms), st.integers(-2, 100), st.floats(-10, 110))
    return st.sampled_from([0, 1, '', 'x', [], {}])


def _alike_list(value: list) -> st.SearchStrategy:
    texts = [str(item) for item in value]
    forms = [[], value[:-1], value[1:], value * 2, value[::-1], [value], [*value, *value[:1]], texts, [*value, None]]
    return st.one_of(st.sampled_from(forms), st.lists(st.integers(-5, 110), max_size=10))


def places(node, path=()) -> list[tuple]:
    """The paths of everything in a tree."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, value in pairs for place in places(value, (*path, key)))]


FEW = st.sampled_from([1, 1, 2, 3])
ACTIONS = ['near', 'near', 'near', 'near', 'replace', 'remove', 'double', 'add', 'exchange']


@st.composite
def changed(draw, content):
    """A JSON tree with one to three changes, most of them small: a file that is wrong as a whole is refused at once."""
    tree = copy.deepcopy(content)
    for _ in range(draw(FEW)):
        paths = places(tree)[1:]
        if paths:
            _change(draw, tree, draw(st.sampled_from(paths)), draw(st.sampled_from(ACTIONS)))
    return tree


def _change(draw, tree, path: tuple, action: str) -> None:
    parent = _at(tree, path[:-1])
    if action == 'near':
        parent[path[-1]] = draw(alike(parent[path[-1]]))
    elif action == 'replace':
        parent[path[-1]] = draw(values)
    elif action == 'remove':
        del parent[path[-1]]
    elif action == 'double' and isinstance(parent, list):
        parent.append(copy.deepcopy(parent[path[-1]]))
    elif action == 'exchange':
        other = draw(st.sampled_from(places(tree)[1:]))
        parent[path[-1]] = copy.deepcopy(_at(tree, other))
    elif isinstance(parent, dict):
        parent[draw(st.text(max_size=3))] = draw(values)


def _at(tree, path: tuple):
    for key in path:
        tree = tree[key]
    return tree


texts = st.one_of(
    st.sampled_from(['', ' ', 'nan', 'inf', '-1', '0', '1e400', '1_0', '٣', '12.5', 'cat', '9' * 5000, '1 2']),
    st.integers(-5, 110).map(str),
    st.floats(-10, 110).map(str),
    st.text(st.characters(codec='utf-8', exclude_categories=['Cc', 'Cs']), max_size=4),
)


@st.composite
def changed_xml(draw, content: str):
    """A VOC file with one to three changes."""
    root = ElementTree.fromstring(content)
    for _ in range(draw(FEW)):
        parents = [(parent, child) for parent in root.iter() for child in parent]
        if not parents:
            break
        parent, child = draw(st.sampled_from(parents))
        action = draw(st.sampled_from(['text', 'text', 'text', 'remove', 'double', 'nest', 'rename']))
        if action == 'text':
            child.text = draw(texts)
        elif action == 'remove':
            parent.remove(child)
        elif action == 'double':
            parent.append(copy.deepcopy(child))
        elif action == 'nest':
            child.append(copy.deepcopy(parent))
        else:
            child.tag = draw(st.sampled_from(['object', 'bndbox', 'name', 'size', 'xmin', 'part']))
    return ElementTree.tostring(root, encoding='utf-8')


@st.composite
def damaged(draw, content: bytes):
    """A file of which some bytes are others, or which ends early; mostly as it was."""
    kind = draw(st.sampled_from(['whole'] * 10 + ['overwritten', 'ended']))
    place = draw(st.integers(0, len(content)))
    if kind == 'ended':
        return content[:place]
    inserted = draw(st.binary(min_size=1, max_size=3)) if kind == 'overwritten' else b''
    return content[:place] + inserted + content[place + len(inserted) :]


@st.composite
def changed_lines(draw, lines: list[str], separator: str):
    """A file of a table with one to three changes: cells, columns and lines."""
    rows = [line.split(separator) for line in lines]
    for _ in range(draw(FEW)):
        row = draw(st.integers(0, max(len(rows) - 1, 0)))
        if not rows or not rows[row]:
            continue
        column = draw(st.integers(0, len(rows[row]) - 1))
        action = draw(st.sampled_from(['text', 'text', 'text', 'remove', 'add', 'double', 'drop', 'exchange']))
        if action == 'text':
            rows[row][column] = draw(texts)
        elif action == 'remove':
            del rows[row][column]
        elif action == 'add':
            rows[row].insert(column, draw(texts))
        elif action == 'double':
            rows.append(list(rows[row]))
        elif action == 'drop':
            del rows[row]
        else:
            rows[row][column] = rows[row][0]
    return ('\n'.join(separator.join(row) for row in rows) + '\n').encode('utf-8', 'surrogatepass')


def as_json(tree) -> bytes:
    """A tree as programs write it, and not only what is UTF-8."""
    return json.dumps(tree).encode('utf-8', 'surrogatepass')


@contextlib.contextmanager
def read_or_refused(*names: str | Path) -> Iterator[list[str]]:
    """What is done to a file in this block works, or is refused in a sentence that names one of ``names``.

    Yields:
        A list, which has that sentence at the end.
    """
    told: list[str] = []
    try:
        yield told
    except (UserError, FileNotFoundError) as error:
        event('refused')
        told.append(str(error))
        assert any(str(name) in str(error) for name in names), f'{names} not in: {error}'
    else:
        event('read')
