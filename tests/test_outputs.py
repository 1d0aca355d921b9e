"""mmdetlike/utils/outputs.py: what output files are called."""

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdetlike.utils.outputs import RECORD, OutputError, OutputFolder, identity


def claimed(outputs: OutputFolder, source: str, suffix: str = '.png') -> str:
    path = outputs.claim(outputs.name(source, suffix), identity(source))
    return path.relative_to(outputs.folder).as_posix()


def test_names_mirror_the_folders_below_the_shared_one(tmp_path):
    outputs = OutputFolder(tmp_path, ['/data/cam1/0001.jpg', '/data/cam2/0001.jpg', '/data/a.b.jpg'])
    assert claimed(outputs, '/data/cam1/0001.jpg') == 'cam1/0001.png'
    assert claimed(outputs, '/data/cam2/0001.jpg', '.json') == 'cam2/0001.json'
    assert claimed(outputs, '/data/a.b.jpg') == 'a.b.png'
    assert claimed(outputs, '/elsewhere/late.jpg') == 'late.png', 'an input that was not announced'


def test_equal_stems_keep_their_endings(tmp_path):
    inputs = ['/data/0001.jpg', '/data/0001.png', '/data/0002.png', '/data/A.png', '/data/a.jpg']
    outputs = OutputFolder(tmp_path, inputs)
    expected = ['0001.jpg.png', '0001.png', '0002.png', 'A.png', 'a.jpg.png']
    assert [claimed(outputs, source) for source in inputs] == expected


def test_addresses(tmp_path):
    inputs = [
        'http://host/a/0.png?big=1',
        'http://host/a/0.png?big=2',
        'https://other:80/../b/%2e%2e/0.png',
        '/x/0.png',
    ]
    outputs = OutputFolder(tmp_path / 'out', inputs)
    assert [claimed(outputs, source) for source in inputs] == [
        'host/a/0.png',
        'host/a/0_1.png',
        'other_80/b/0.png',
        '0.png',
    ]


def test_another_run_replaces_its_own_results_only(tmp_path):
    def run() -> list[str]:
        names = []
        for source in ('/cam1/0.jpg', '/cam2/0.jpg'):
            names.append(claimed(OutputFolder(tmp_path, [source]), source))
            (tmp_path / names[-1]).write_text(source)
        return names

    (tmp_path / '0.png').write_text('mine')
    assert run() == run() == ['0_1.png', '0_2.png']
    assert (tmp_path / '0.png').read_text() == 'mine'
    assert (tmp_path / '0_2.png').read_text() == '/cam2/0.jpg'


def test_a_record_that_was_cut_short(tmp_path):
    claimed(OutputFolder(tmp_path), '/a/0.png')
    with open(tmp_path / RECORD, 'a') as file:
        file.write('{"file": "1.p\n[]\n{"file": "1.png"}\n')
    assert claimed(OutputFolder(tmp_path), '/a/0.png') == '0.png'


def test_a_link_to_an_input_in_the_place_of_an_output(tmp_path):
    source = tmp_path / 'in.png'
    source.write_text('input')
    out = tmp_path / 'out'
    claimed(OutputFolder(out, [source]), str(source))
    (out / 'in.png').unlink()
    (out / 'in.png').symlink_to(source)
    outputs = OutputFolder(out, [source])
    with pytest.raises(OutputError, match=r'out/in\.png is one of the inputs'):
        outputs.check([outputs.name(source, '.png')])
    assert claimed(outputs, str(source)) == 'in_1.png'


def test_folders_that_cannot_be_written_to(tmp_path, monkeypatch):
    (tmp_path / 'file').write_text('')
    with pytest.raises(OutputError, match=rf'{tmp_path}/file/out cannot be a folder for outputs: .*/file is a file'):
        OutputFolder(tmp_path / 'file/out').check([])
    outputs = OutputFolder(tmp_path)
    with pytest.raises(OutputError, match=r'x+\.png cannot be written: File name too long'):
        outputs.claim('x' * 300 + '.png', 'x')
    # where root, too, can write nothing, though permissions say otherwise
    with pytest.raises(OutputError, match=r'^/proc/new cannot be .*: nothing can be written to /proc \(No such file'):
        OutputFolder('/proc/new').check([])
    assert not list(tmp_path.glob('new*'))
    monkeypatch.setenv('HOME', str(tmp_path))
    assert OutputFolder('~/x').folder == tmp_path / 'x'


def test_threads_never_get_the_same_file(tmp_path):
    names = []

    def claim(number: int) -> None:
        for i in range(10):
            names.append(OutputFolder(tmp_path).claim('0.png', f'array {number} {i}'))

    threads = [threading.Thread(target=claim, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == 40


def test_many_outputs_of_one_name(tmp_path):
    names = [OutputFolder(tmp_path).claim('0.png', f'array {i}').name for i in range(60)]
    assert names == ['0.png', *(f'0_{i}.png' for i in range(1, 60))]
    assert [OutputFolder(tmp_path).claim('0.png', f'array {i}').name for i in range(60)] == names


def test_processes_that_have_a_sample_in_common(tmp_path):
    first, second = OutputFolder(tmp_path), OutputFolder(tmp_path)
    assert claimed(first, '/a/0.png') == claimed(second, '/a/0.png') == '0.png'
    assert claimed(second, '/b/0.png') == claimed(first, '/b/0.png') == '0_1.png'


def test_arrays_are_told_apart_by_their_content():
    a, b = np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8)
    assert identity(a) == identity(a.copy()) != identity(b)
    assert identity(a) != identity(a + 1)


names = st.text('aA.b', min_size=1, max_size=4).filter(lambda name: name.strip('.'))
files = st.builds(
    lambda folder, name, suffix: f'/{folder}/{name}{suffix}', names, names, st.sampled_from(['.png', '.JPG', ''])
)


@given(st.sets(files, min_size=1, max_size=8), st.sampled_from(['.png', '.json']))
def test_no_two_inputs_share_an_output(tmp_path_factory, inputs, suffix):
    folder = tmp_path_factory.mktemp('outputs')
    runs = []
    for _ in range(2):
        outputs = OutputFolder(folder, inputs)
        runs.append({source: claimed(outputs, source, suffix) for source in sorted(inputs)})
    assert len(set(runs[0].values())) == len(inputs)
    assert runs[0] == runs[1]
    assert all(Path(source).stem.rstrip('.') in output for source, output in runs[0].items())
