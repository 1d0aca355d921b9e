"""What the command `mmdetlike serve` refuses before it loads a detector."""

import socket

import pytest

from mmdetlike.cli import serve
from mmdetlike.errors import ConfigError


@pytest.mark.parametrize(
    'arguments, sentence',
    [
        (['--port', '80'], '--port must be from 1024 to 65535, got 80'),
        (['--port', '65536'], '--port must be from 1024 to 65535, got 65536'),
        (
            ['--host', '10.0.0.1'],
            'or localhost (any address with --ray), got 10.0.0.1',
        ),
        (['--workers', '2'], '--workers and --gpus-per-worker are for --ray'),
        (['--max-seconds', '0'], '--max-seconds must be positive, got 0.0'),
    ],
)
def test_arguments_out_of_range(arguments, sentence, capsys):
    with pytest.raises(SystemExit):
        serve.parse_args(['deployed', *arguments])
    assert sentence in capsys.readouterr().err


def test_addresses():
    assert serve.parse_args(['deployed']).host == '127.0.0.1'
    assert serve.parse_args(['deployed', '--host', 'localhost']).host == '127.0.0.1'
    assert serve.parse_args(['deployed', '--host', '10.0.0.1', '--ray']).host == '10.0.0.1'


def test_a_port_that_is_taken(monkeypatch):
    monkeypatch.setattr(serve, 'require_packages', lambda *names: None)
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf'nothing can listen at 127.0.0.1:{port} \(Address already in use\)'):
            serve.main(['deployed', '--port', str(port)])


@pytest.mark.parametrize('flags, urls', [([], 'none'), (['--allow-url'], 'public'), (['--allow-local-url'], 'any')])
def test_which_addresses_pictures_are_fetched_from(flags, urls, monkeypatch):
    given = {}
    monkeypatch.setattr(serve, 'require_packages', lambda *names: None)
    monkeypatch.setattr(serve, '_check_free', lambda host, port: None)
    monkeypatch.setattr(serve, '_by_litserve', lambda args, source, gate: given.update(gate))
    monkeypatch.setattr('mmdetlike.apis.loading.load_inferencer', lambda **source: Loaded())
    serve.main(['retinanet_r18_fpn_shapes', *flags])
    assert given['urls'] == urls and given['classes'] == ['circle']


class Loaded:
    """A detector of one class."""

    def __init__(self) -> None:
        self.model = self
        self.dataset_meta = dict(classes=('circle',))
