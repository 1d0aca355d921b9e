"""What a class takes, with what its ``**kwargs`` hands on to its bases, as ``help``, IDEs and messages show it."""

import ast
import functools
import inspect
import re
import sys
import textwrap
from collections.abc import Callable
from inspect import Parameter

NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
# a text that sends the reader to another class or function, whose own text is shown in its place
REFERENCE = re.compile(r'(?:As of|As in|See) ``?([\w.]+)``?[.,;:]? ?(.*)', re.DOTALL)


def parameters_of(cls: type) -> dict[str, Parameter]:
    """The parameters of a class's constructor by name, following ``**kwargs`` into its bases.

    What a constructor itself hands to the one of its base is no parameter of the class.
    """
    found: dict[str, Parameter] = {}
    taken: set[str] = set()
    for base in cls.__mro__:
        if '__init__' not in vars(base):
            continue
        parameters = list(inspect.signature(base.__init__).parameters.values())[1:]
        for parameter in parameters:
            if parameter.kind in NAMED and parameter.name not in taken:
                found.setdefault(parameter.name, parameter)
        takes_any = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters)
        if not takes_any or _keeps_keywords(base):
            break
        taken |= _handed_on(base) - set(found)
    return found


def _calls_of_base(cls: type) -> list[ast.Call]:
    """Where the constructor of ``cls`` calls that of its base."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls.__init__)))
    except (OSError, TypeError, SyntaxError):  # no source, as in an interactive session
        return []
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in calls if ast.unparse(call.func) == 'super().__init__']


def _handed_on(cls: type) -> set[str]:
    """Names of the arguments that the constructor of ``cls`` writes out where it calls that of its base."""
    return {keyword.arg for call in _calls_of_base(cls) for keyword in call.keywords if keyword.arg is not None}


def _keeps_keywords(cls: type) -> bool:
    """Whether ``**kwargs`` of the constructor are not for that of its base, but say for a transform inside."""
    calls = _calls_of_base(cls)
    return bool(calls) and not any(keyword.arg is None for call in calls for keyword in call.keywords)


def signature_of(cls: type) -> inspect.Signature:
    """The signature of a class with the parameters of its bases, which it takes by name alone."""
    own = inspect.signature(cls.__init__).parameters
    parameters = parameters_of(cls).values()
    inherited = [p.replace(kind=Parameter.KEYWORD_ONLY) for p in parameters if p.name not in own]
    positional = [p for p in parameters if p.name in own and p.kind is not Parameter.KEYWORD_ONLY]
    by_name = [p for p in parameters if p.name in own and p.kind is Parameter.KEYWORD_ONLY]
    kept = [p for p in own.values() if p.kind is Parameter.VAR_KEYWORD and _keeps_keywords(cls)]
    return inspect.Signature([*positional, *by_name, *inherited, *kept])


def argument_docs(cls: type) -> dict[str, str]:
    """What docstrings say of each parameter of a class, its own or the one of the base that takes it."""
    docs = _docs_of(cls)
    return {name: docs[name] for name in parameters_of(cls) if name in docs}


def _docs_of(item: type | Callable) -> dict[str, str]:
    """What the docstrings of a class and its bases, or of a function, say of arguments; references are followed."""
    docs: dict[str, str] = {}
    for base in item.__mro__ if inspect.isclass(item) else [item]:
        for name, text in _documented(_own_doc(base)).items():
            if name not in docs or REFERENCE.match(docs[name]):
                docs[name] = _followed(text, name, base)
    return docs


def _followed(text: str, name: str, item: type | Callable) -> str:
    """What a reference to another class or function stands for, and what is said beyond it; any other text as it is.

    A class is looked for among the bases of ``item``, then in the file of ``item``.
    """
    reference = REFERENCE.match(text)
    if reference is None:
        return text
    bases = {base.__name__: base for base in getattr(item, '__mro__', ())[1:]}
    target_name = reference[1].rpartition('.')[2]
    target = bases.get(target_name) or getattr(sys.modules[item.__module__], target_name, None)
    if target is None or target is item:
        return text
    told = _docs_of(target).get(name, text)
    addition = reference[2]
    return f'{told} {addition[0].upper()}{addition[1:]}' if addition and told != text else told


def _own_doc(item: type | Callable) -> str:
    doc = vars(item).get('__doc__') if inspect.isclass(item) else item.__doc__
    return inspect.cleandoc(doc.own if isinstance(doc, FullDoc) else doc or '')


def _documented(doc: str) -> dict[str, str]:
    """The entries of a docstring's sections, but for what it returns and raises."""
    sections = re.split(r'^(?=\S.*:$)', doc, flags=re.MULTILINE)[1:]
    told = [_entries(section) for section in sections if not section.startswith(('Returns', 'Raises', 'Examples'))]
    entries = [entry for section in told for entry in re.split(r'^ {4}(?=\S)', section, flags=re.MULTILINE)[1:]]
    docs = {}
    for entry in entries:
        # mmengine and torch write `name (type): text`
        match = re.match(r'([\w, *]+?)\s*(?:\((?:[^()]|\([^()]*\))*\))?:(.*)', entry, re.DOTALL)
        if match:
            docs.update({name.strip(' *'): ' '.join(match[2].split()) for name in match[1].split(',')})
    return docs


def _entries(section: str) -> str:
    """A section up to the paragraph that may follow its indented entries."""
    return re.split(r'\n\n(?=\S)', section, maxsplit=1)[0]


class FullSignature:
    """A class attribute that is the class's signature, worked out when it is asked for."""

    def __get__(self, instance: object, owner: type) -> inspect.Signature:
        return signature_of(owner)


class FullDoc:
    """A class attribute that is the class's docstring with the arguments of its bases, worked out when asked for."""

    def __init__(self, own: str) -> None:
        self.own = own

    def __get__(self, instance: object, owner: type) -> str:
        return _full_doc(owner)


@functools.cache
def _full_doc(cls: type) -> str:
    own = _own_doc(cls)
    written = {name for name, text in _documented(own).items() if not REFERENCE.match(text)}
    found = {name: text for name, text in argument_docs(cls).items() if name not in written}
    # a reference to what is not in sight may lead nowhere: then it stays as it is
    inherited = {name: text for name, text in found.items() if not REFERENCE.match(text)}
    if not inherited:
        return own
    lines = ''.join(f'    {name}: {text}\n' for name, text in inherited.items())
    head, _, rest = own.partition('\nArgs:\n')
    if not rest:
        return f'{own}\n\nArgs:\n{lines}'.rstrip()
    end = len(_entries(rest))
    own_lines = _without_entries_for(rest[:end].rstrip() + '\n', {*inherited, 'kwargs'})
    return f'{head}\nArgs:\n{own_lines}{lines.rstrip()}{rest[end:]}'


def _without_entries_for(lines: str, names: set[str]) -> str:
    """The lines of a section without the entries that are about nothing but ``names``."""
    entries = re.split(r'^ {4}(?=\S)', lines, flags=re.MULTILINE)[1:]
    kept = [
        entry for entry in entries if not {name.strip(' *') for name in entry.partition(':')[0].split(',')} <= names
    ]
    return ''.join(f'    {entry}' for entry in kept)


def show_all_arguments(cls: type) -> type:
    """Let ``help``, ``inspect.signature`` and IDEs see what a class takes beyond its own constructor."""
    if isinstance(vars(cls).get('__doc__'), FullDoc):  # registered under a second name
        return cls
    own = vars(cls).get('__init__')
    kinds = [] if own is None else [p.kind for p in inspect.signature(own).parameters.values()]
    if own is None or Parameter.VAR_KEYWORD in kinds:
        cls.__signature__ = FullSignature()
    cls.__doc__ = FullDoc(cls.__doc__ or '')
    return cls
