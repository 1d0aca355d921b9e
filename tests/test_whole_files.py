"""Files are whole or absent, whatever happens while they are written."""

import os

import pytest

from mmdetlike.utils.whole_files import whole_file, whole_folder, write_whole


def test_content_replaces_what_was_there_and_leaves_nothing_else(tmp_path):
    path = tmp_path / 'new' / 'a.json'
    write_whole(path, b'old')
    write_whole(path, b'new')
    assert path.read_bytes() == b'new'
    assert os.listdir(path.parent) == ['a.json']


def test_an_exception_leaves_the_old_content_and_no_other_file(tmp_path):
    path = tmp_path / 'a.json'
    write_whole(path, b'old')
    with pytest.raises(RuntimeError, match='stop'), whole_file(path) as file:
        file.write(b'half')
        raise RuntimeError('stop')
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['a.json']


def test_the_file_is_as_readable_for_others_as_any_new_file(tmp_path):
    plain = tmp_path / 'plain'
    plain.touch()
    write_whole(tmp_path / 'whole', b'')
    assert (tmp_path / 'whole').stat().st_mode == plain.stat().st_mode


def test_the_unfinished_file_has_a_name_that_readers_of_folders_pass_over(tmp_path):
    with whole_file(tmp_path / 'part.parquet') as file:
        file.write(b'1')
        assert os.path.basename(file.name).startswith('.')
        assert not list(tmp_path.glob('*.parquet'))


def test_a_folder_is_filled_at_the_end_or_not_at_all(tmp_path):
    out = tmp_path / 'out'
    with pytest.raises(RuntimeError, match='stop'), whole_folder(out) as folder:
        (folder / 'a').write_text('half')
        raise RuntimeError('stop')
    assert os.listdir(tmp_path) == []
    write_whole(out / 'sub/a', b'old')
    write_whole(out / 'sub/b', b'stays')
    with whole_folder(out) as folder:
        (folder / 'sub').mkdir()
        (folder / 'sub/a').write_text('new')
        assert (out / 'sub/a').read_text() == 'old'
    assert {path.name: path.read_text() for path in (out / 'sub').iterdir()} == {'a': 'new', 'b': 'stays'}
    assert os.listdir(out) == ['sub']
    with pytest.raises(NotADirectoryError, match='expected a folder'), whole_folder(out / 'sub/a'):
        pass
