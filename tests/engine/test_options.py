"""--cfg-options: what a value stands for, which keys there are, what is said about others."""

import argparse
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import Config

from mmdetlike.errors import ConfigError
from mmdetlike.utils.options import add_options, apply_options, parse_option, parse_value

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False, allow_infinity=False)
)
hashable = st.none() | st.booleans() | st.integers() | st.text()
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(hashable, inner)
        | st.sets(st.integers() | st.text(), max_size=3)
    ),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(values)
def test_any_literal_is_read_as_it_is_printed(value):
    read = parse_value(repr(value))
    assert type(read) is type(value)
    assert read == value or repr(read) == repr(value)  # sets have no order, nan is not equal to itself


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text_is_read_or_refused_in_a_sentence(text):
    try:
        parse_option(text)
    except ConfigError as error:
        assert str(error).startswith('--cfg-options ')


@pytest.mark.parametrize(
    'text, value',
    [
        ('x y', 'x y'),
        ('"x y"', 'x y'),
        ('my folder/x.pth', 'my folder/x.pth'),
        ('./x/y.pth', './x/y.pth'),
        ('http://x/y?z=1&w=2', 'http://x/y?z=1&w=2'),
        ('', ''),
        ('1e-4', 1e-4),
        ('007', 7),
        ('1_000', 1000),
        ('1.2.3', '1.2.3'),
        ('true', True),
        ('None', None),
        ('none', 'none'),
        ('inf', math.inf),
        ('-inf', -math.inf),
        ('1,2,3', [1, 2, 3]),
        ('(1,2),(3,4)', [(1, 2), (3, 4)]),
        ('[(1,2),(3,4)]', [(1, 2), (3, 4)]),
        ('cat,dog', ['cat', 'dog']),
        ('cat,', ['cat']),
        ('(cat,dog)', ('cat', 'dog')),
        ("('cat',)", ('cat',)),
        ('[a, [b, 1], (c, None)]', ['a', ['b', 1], ('c', None)]),
        ("['a,b', cat]", ['a,b', 'cat']),
        ("'1,2'", '1,2'),
        ("it's", "it's"),
        ('{"x": 1, "y": [1, inf]}', {'x': 1, 'y': [1, math.inf]}),
        ("dict(type='SGD', lr=0.1)", {'type': 'SGD', 'lr': 0.1}),
        ('x(1).pth', 'x(1).pth'),
        ('(draft) a', '(draft) a'),
        (r'C:\data', r'C:\data'),
        ('__import__("os")', '__import__("os")'),
    ],
)
def test_values(text, value):
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


@pytest.mark.parametrize(
    'text, message',
    [
        ('a', "'a': expected KEY=VALUE, e.g. "),
        ('=5', "'=5': expected KEY=VALUE"),
        (' =5', 'expected KEY=VALUE'),
        ('a=(1,2', r"'a=\(1,2': \( is not closed in \(1,2"),
        ('a=[x', r'\[ is not closed'),
        ('a=x,(1', r'\( is not closed'),
        ("a='x", "' is not closed in 'x"),
        ('a..b=1', "the key 'a..b' must be names and numbers joined by dots"),
        ('a[b]=1', 'must be names and numbers'),
    ],
)
def test_malformed_text_is_refused(text, message):
    with pytest.raises(ConfigError, match=f'^--cfg-options .*{message}'):
        parse_option(text)


def test_options_are_collected():
    parser = argparse.ArgumentParser()
    add_options(parser)
    args = parser.parse_args(['--cfg-options', 'a=1', 'b.c=x y', '--cfg-options', 'd[0].e=(1,)', 'a=2'])
    assert args.cfg_options == {'a': 2, 'b.c': 'x y', 'd.0.e': (1,)}


def config() -> Config:
    return Config(dict(lr=0.1, model=dict(type='A', parts=[dict(x=1), dict(x=2)]), size=(1, 2)))


def test_options_are_applied_to_entries_of_lists():
    cfg = config()
    option = dict(y=[1])
    apply_options(cfg, {'model.parts.1.x': 5, 'model.new.deep': 1, 'model.parts.0': option})
    assert cfg.model.parts == [dict(x=1, y=[1]), dict(x=5)]
    assert cfg.model.new.deep == 1
    assert option == dict(y=[1])


@pytest.mark.parametrize(
    'key, reason',
    [
        ('model.parts.2.x', "model.parts is a list of 2 entries, counted from 0; '2' is none of them"),
        ('model.parts.x', "model.parts is a list of 2 entries, counted from 0; 'x' is none of them"),
        ('lr.x', "lr is 0.1, a float, which has no entry 'x'; set it as a whole"),
        ('size.0', r"size is \(1, 2\), a tuple, which has no entry '0'; set it as a whole"),
    ],
)
def test_keys_that_lead_nowhere(key, reason):
    with pytest.raises(ConfigError, match=f'--cfg-options {key}=3 does not fit the config: {reason}'):
        apply_options(config(), {key: 3})
