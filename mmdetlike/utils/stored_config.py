"""Parsing the text of a config that a checkpoint holds, without running it."""

import ast

# how infinite values are written in configs
NOT_FINITE = ("float('inf')", "float('-inf')", "float('nan')")


def parse_config(text: str) -> dict:
    """The values that a config's text assigns, as far as they are literals and calls of ``dict``.

    Raises:
        SyntaxError: It isn't Python.
        ValueError: It holds more than plain data; the message names the line.
    """
    assignments = (node for node in ast.parse(text).body if isinstance(node, ast.Assign))
    return {node.targets[0].id: _plain(node.value) for node in assignments if isinstance(node.targets[0], ast.Name)}


def _plain(node: ast.expr):
    """The value of an expression made of literals and calls of ``dict``."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict' and not node.args:
        return {keyword.arg: _plain(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.Dict):
        return {_plain(key): _plain(value) for key, value in zip(node.keys, node.values)}
    if isinstance(node, (ast.List, ast.Tuple)):
        values = [_plain(value) for value in node.elts]
        return values if isinstance(node, ast.List) else tuple(values)
    if isinstance(node, ast.Name) and node.id in ('inf', 'nan'):  # as mmengine writes them
        return float(node.id)
    if isinstance(node, ast.Call) and ast.unparse(node) in NOT_FINITE:
        return float(node.args[0].value)
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise ValueError(f'line {node.lineno}: {ast.unparse(node)[:60]}') from None
