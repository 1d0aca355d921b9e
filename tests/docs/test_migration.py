"""What the pages for users of other toolboxes tell to type: commands parse, configs and names are there."""

import importlib
import inspect
import re
import shlex
from pathlib import Path

import pytest

from mmdetlike.apis import foreign, init_detector
from mmdetlike.cli import convert_model
from mmdetlike.cli import test as testing
from mmdetlike.cli import train as training
from mmdetlike.registry import HOOKS, MODELS
from mmdetlike.utils import register_all_modules

ROOT = Path(__file__).parents[2]
NAMES = ('migrate', 'migrate_from_2x', 'migrate_from_detectron2', 'migrate_from_torchvision')
PAGES = [ROOT / 'docs' / f'{name}.md' for name in NAMES]
PARSERS = {'convert-model': convert_model.parse_args, 'test': testing.parse_args, 'train': training.parse_args}
BLOCK = re.compile(r'```(\w*)\n(.*?)```', re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    return [text for found, text in BLOCK.findall(page.read_text()) if found == language]


def lines(page: Path) -> list[str]:
    return [line for text in blocks(page, '') for line in text.splitlines() if line]


COMMANDS = [(page.name, line) for page in PAGES for line in lines(page)]
SNIPPETS = [(page.name, text) for page in PAGES for text in blocks(page, 'python')]


@pytest.mark.parametrize('page, line', COMMANDS)
def test_a_command_is_one_of_ours_with_its_arguments(page, line):
    program, name, *arguments = shlex.split(line)
    if program == 'python':
        assert (ROOT / name).is_file()
        return
    assert program == 'mmdetlike'
    args = PARSERS[name](arguments)
    if '://' in args.config:
        assert foreign.foreign_detector(args.config).config.model.type in MODELS


@pytest.mark.parametrize('page, text', SNIPPETS)
def test_a_snippet_names_what_is_there(page, text):
    for module, names in re.findall(r'^from (mmdetlike[\w.]*) import (.+)$', text, re.MULTILINE):
        assert all(hasattr(importlib.import_module(module), name.strip()) for name in names.split(','))
    calls = re.findall(r'init_detector\((.+?)\)(?:  #.*)?$', text, re.MULTILINE)
    for call in calls:
        given = eval(f'signature.bind({call})', dict(signature=inspect.signature(init_detector)))
        config = given.arguments['config']
        assert '://' not in config or foreign.foreign_detector(config, given.arguments.get('pretrained', False))
    compile(text, page, 'exec')


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_modules_files_and_hooks_that_are_named_exist(page):
    register_all_modules()
    text = page.read_text()
    for path in re.findall(r'`(mmdetlike(?:\.\w+)+)', text):
        assert _is_there(path), path
    for file in re.findall(r'((?:tools|tests)/[\w/.]+\.(?:py|sh))', text):
        assert (ROOT / file).is_file(), file
    for hook in re.findall(r"type='(\w+Hook)'", text):
        assert hook in HOOKS, hook


def _is_there(path: str) -> bool:
    """Whether a dotted path is that of a module or of something in one."""
    parts = path.split('.')
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module('.'.join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            found = getattr(found, part, None)
        return found is not None
    return False
