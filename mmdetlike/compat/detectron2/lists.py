"""Lists of numbers that a config file computes, without running its text."""

import ast
import operator

OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
LARGEST_EXPONENT = 64


def evaluate(text: str):
    """The value of an expression of numbers, arithmetic, lists and one ``for`` over a list.

    Raises:
        ValueError: There is anything else in it.

    Examples:
        >>> evaluate('[[x, x * 2 ** (1 / 2)] for x in [32, 64]]')[0]
        [32, 45.254833995939045]
    """
    return _value(ast.parse(text, mode='eval').body, {})


def _value(node: ast.expr, names: dict[str, float]):
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    if isinstance(node, ast.Name) and node.id in names:
        return names[node.id]
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(part, names) for part in node.elts]
    if isinstance(node, ast.BinOp):
        return _arithmetic(node, names)
    if isinstance(node, ast.ListComp) and len(node.generators) == 1 and not node.generators[0].ifs:
        loop = node.generators[0]
        if isinstance(loop.target, ast.Name):
            return [_value(node.elt, {**names, loop.target.id: item}) for item in _value(loop.iter, names)]
    raise ValueError(f'{ast.unparse(node)!r} is more than a list of numbers')


def _arithmetic(node: ast.BinOp, names: dict[str, float]) -> float:
    left = _value(node.left, names)
    right = _value(node.right, names)
    numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
    # a power of large numbers would take all memory
    if numbers and isinstance(node.op, ast.Pow) and abs(right) <= LARGEST_EXPONENT:
        return float(left) ** right
    if numbers and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](left, right)
    raise ValueError(f'{ast.unparse(node)!r} is more than a list of numbers')
