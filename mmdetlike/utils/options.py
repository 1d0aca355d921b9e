"""Overrides of a config on the command line: ``--cfg-options model.backbone.depth=50 classes=cat,dog``."""

import argparse
import ast
import copy
import math
import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmdetlike.errors import ConfigError

if TYPE_CHECKING:
    from mmengine.config import Config as MMEngineConfig

OPENING = '([{'
CLOSING = ')]}'
QUOTES = ('"', "'")
NAMES = {'inf': math.inf, 'nan': math.nan}
EXAMPLE = 'expected KEY=VALUE, e.g. train_dataloader.batch_size=4'


class OptionsAction(argparse.Action):
    """Collects KEY=VALUE arguments in a dict, also those of an option that is given several times.

    A key is dotted; entries of lists are counted from 0, as ``pipeline.2.prob`` or ``pipeline[2].prob``. A value is a
    Python literal or plain text, which needs no quotes: ``lr=1e-4``, ``name=cat``, ``classes=cat,dog`` (a list),
    ``scale=(640,480)``, ``cfg={'a': 1}``, ``path=my folder/x.pth``.

    Raises:
        ConfigError: An argument is malformed.
    """

    def __call__(self, parser, namespace, values: str | Sequence[str], option_string: str | None = None) -> None:
        """Add ``values`` to what the namespace holds."""
        options = dict(getattr(namespace, self.dest, None) or {})
        for text in [values] if isinstance(values, str) else values:
            key, value = parse_option(text)
            options[key] = value
        setattr(namespace, self.dest, options)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Let a tool take overrides of its config."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionsAction,
        metavar='KEY=VALUE',
        help='overrides of the config, e.g. optim_wrapper.optimizer.lr=0.01 train_dataloader.batch_size=4',
    )


def parse_option(text: str) -> tuple[str, object]:
    """Dotted key and value of KEY=VALUE.

    Raises:
        ConfigError: It is malformed.
    """
    key, equals, value = text.partition('=')
    if not equals or not key.strip():
        raise ConfigError(f'--cfg-options {text!r}: {EXAMPLE}')
    dotted = re.sub(r'\[(\d+)\]', r'.\1', key.strip())
    if not all(dotted.split('.')) or '[' in dotted or ']' in dotted:
        raise ConfigError(f'--cfg-options {text!r}: the key {key!r} must be names and numbers joined by dots')
    try:
        return dotted, parse_value(value)
    except ConfigError as error:
        raise ConfigError(f'--cfg-options {text!r}: {error}') from error


def parse_value(text: str):
    """The value that a text stands for: a Python literal, else a list or tuple of texts, else the text.

    Raises:
        ConfigError: Its brackets don't match.
    """
    stripped = text.strip()
    if not stripped:
        return ''
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', SyntaxWarning)  # about backslashes in paths
            return _literal(stripped)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return _bare(stripped)


def _literal(text: str):
    # within brackets, so that 1,2 is told from (1,2)
    node = ast.parse(f'[{text}]', mode='eval').body
    if not isinstance(node, ast.List):
        raise ValueError(text)
    values = [_evaluate(element) for element in node.elts]
    return values[0] if len(values) == 1 and not text.endswith(',') else values


def _evaluate(node: ast.expr):
    if isinstance(node, ast.Name) and node.id in NAMES:
        return NAMES[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Name):
        return -_evaluate(node.operand)
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        kind = {ast.List: list, ast.Tuple: tuple, ast.Set: set}[type(node)]
        return kind(_evaluate(element) for element in node.elts)
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {_evaluate(key): _evaluate(value) for key, value in zip(node.keys, node.values)}
    if isinstance(node, ast.Call) and getattr(node.func, 'id', None) == 'dict' and not node.args:
        return {keyword.arg: _evaluate(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.Constant) and node.value is ...:
        raise ValueError('...')  # more likely a text
    return ast.literal_eval(node)


def _bare(text: str):
    """The value of a text with parts that are no literals: names without quotes."""
    parts = _split(text)
    if len(parts) > 1:
        return [parse_value(part) for part in parts if part.strip()]
    if text[0] in '([' and text[-1] == CLOSING[OPENING.index(text[0])] and _closes_at_end(text):
        inside = [parse_value(part) for part in _split(text[1:-1]) if part.strip()]
        return tuple(inside) if text[0] == '(' else inside
    return _scalar(text)


def _scalar(text: str):
    if text.lower() in ('true', 'false'):
        return text.lower() == 'true'
    for number in (int, float):  # 007 and NaN, which are no literals
        try:
            return number(text)
        except ValueError:
            continue
    return text


def _split(text: str) -> list[str]:
    """The parts of a text between the commas that neither brackets nor the quotes around a part enclose."""
    parts = []
    open_brackets = []
    quote = ''
    start = 0
    for i, char in enumerate(text):
        if quote:
            quote = '' if char == quote else quote
        elif char in QUOTES and (i == 0 or text[:i].rstrip()[-1:] in ('', ',', *OPENING)):
            quote = char
        elif char in OPENING:
            open_brackets.append(char)
        elif char in CLOSING and open_brackets[-1:] == [OPENING[CLOSING.index(char)]]:
            open_brackets.pop()
        elif char == ',' and not open_brackets:
            parts.append(text[start:i])
            start = i + 1
    if quote or (open_brackets and (text[0] in OPENING or ',' in text)):
        raise ConfigError(f'{quote or open_brackets[-1]} is not closed in {text}')
    return [*parts, text[start:]]


def _closes_at_end(text: str) -> bool:
    """Whether the bracket that opens a text is closed by its last character."""
    depth = 0
    for i, char in enumerate(text):
        depth += (char in OPENING) - (char in CLOSING)
        if depth == 0:
            return i == len(text) - 1
    return False


def apply_options(config: 'MMEngineConfig', options: dict) -> None:
    """Set values of a config by their dotted keys.

    Raises:
        ConfigError: A key leads into something that has no such entry.
    """
    for key, value in options.items():
        try:
            config.merge_from_dict({key: copy.deepcopy(value)})  # it writes into nested dicts
        except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
            reason = _why_not(config, key) or f'{type(error).__name__}: {error}'
            source = config.filename or 'the config'
            raise ConfigError(f'--cfg-options {key}={value!r:.80} does not fit {source}: {reason}') from error


def _why_not(config: 'MMEngineConfig', key: str) -> str | None:
    """The reason why a dotted key leads nowhere; None if none is found."""
    node = config._cfg_dict
    path = ''
    for part in key.split('.'):
        if isinstance(node, list):
            if not part.isdigit() or int(part) >= len(node):
                return f'{path} is a list of {len(node)} entries, counted from 0; {part!r} is none of them'
            node = node[int(part)]
        elif isinstance(node, dict):
            node = node.get(part)
            if node is None:
                return None
        else:
            return f'{path} is {node!r:.60}, a {type(node).__name__}, which has no entry {part!r}; set it as a whole'
        path = f'{path}.{part}' if path else part
    return f'{path} is {node!r:.60}, a {type(node).__name__}; set it as a whole'
