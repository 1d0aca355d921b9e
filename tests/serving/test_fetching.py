"""Pictures from addresses: public ones alone, wherever they redirect to, and in time."""

import http.server
import threading
import time

import pytest

pytest.importorskip('starlette', reason='serving needs the packages of pip install .[serve]')

from mmdetlike.serving import fetching
from mmdetlike.serving.fetching import fetch, is_public
from mmdetlike.serving.limits import Limits, Refusal

LIMITS = Limits(size=1000)


class Pages(http.server.BaseHTTPRequestHandler):
    """Answers by the path; ``/slow`` never ends, a byte at a time."""

    def do_GET(self):
        if self.path.startswith('/to/'):
            self.send_response(302)
            self.send_header('Location', self.path[4:])
            self.end_headers()
        elif self.path == '/slow':
            self.send_response(200)
            self.end_headers()
            for _ in range(100):
                self.wfile.write(b'.')
                time.sleep(0.05)
        else:
            self.send_response(404 if self.path == '/missing' else 200)
            self.end_headers()
            self.wfile.write(b'x' * 2000 if self.path == '/large' else self.path.encode())

    def log_message(self, *args):
        """Nothing."""


@pytest.fixture(scope='module')
def pages():
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()


def test_what_is_there_is_fetched(pages):
    assert fetch(f'{pages}/a.png?b=1#c', LIMITS, allow_local=True) == b'/a.png?b=1'
    assert fetch(f'{pages}/to/{pages}/b', LIMITS, allow_local=True) == b'/b'
    assert fetch(f'{pages}/to//c', LIMITS, allow_local=True) == b'/c'


@pytest.mark.parametrize(
    'path, status, sentence',
    [
        ('/missing', 400, '/missing cannot be fetched: the status is 404 Not Found'),
        ('/large', 413, 'the request has more than 1000 bytes, the limit of this server'),
        ('/to/file:///etc/passwd', 400, "must be an address of http or https, got 'file:///etc/passwd'"),
        ('/to/gopher://x', 400, "must be an address of http or https, got 'gopher://x'"),
        ('/with blank', 400, "cannot be fetched: URL can't contain control characters"),
    ],
)
def test_what_cannot_be_fetched_is_told(pages, path, status, sentence):
    with pytest.raises(Refusal) as refusal:
        fetch(pages + path, LIMITS, allow_local=True)
    assert refusal.value.status == status
    assert sentence in refusal.value.sentence


def test_redirects_without_end(pages):
    with pytest.raises(Refusal, match='it redirects more than 5 times'):
        fetch(f'{pages}/to/' * 7 + pages, LIMITS, allow_local=True)


def test_a_server_that_never_ends_is_left_in_time(pages):
    start = time.monotonic()
    with pytest.raises(Refusal, match=r'/slow cannot be fetched: it takes longer than 0.5 seconds'):
        fetch(f'{pages}/slow', LIMITS, allow_local=True, seconds=0.5)
    assert time.monotonic() - start < 3


@pytest.mark.parametrize(
    'host',
    ['127.0.0.1', 'localhost', '[::1]', '[::ffff:127.0.0.1]', '0.0.0.0', '2130706433', '169.254.169.254', '10.0.0.1'],
)
def test_local_addresses_are_refused_however_they_are_written(host):
    with pytest.raises(Refusal, match='is an address of this machine or of a private network') as refusal:
        fetch(f'http://{host}/', LIMITS)
    assert refusal.value.status == 403


def test_a_public_address_that_redirects_to_a_local_one(pages, monkeypatch):
    # the first connection counts as one to a public address
    answers = iter([True, False])
    monkeypatch.setattr(fetching, 'is_public', lambda address: next(answers))
    with pytest.raises(Refusal, match='is an address of this machine') as refusal:
        fetch(f'{pages}/to/{pages}/secret', LIMITS)
    assert refusal.value.status == 403


@pytest.mark.parametrize('url', [None, 3, '', 'x', 'http://', 'http://[::1', 'ftp://a/b', 'file:///etc/passwd'])
def test_what_is_no_address(url):
    with pytest.raises(Refusal, match='"url" must be an address of http or https') as refusal:
        fetch(url, LIMITS, allow_local=True)
    assert refusal.value.status == 400


@pytest.mark.parametrize(
    'url', ['http://\ud800/', 'http://127.0.0.1:99999/', 'http://127.0.0.1:a/', f'http://{"a" * 99}.b/']
)
def test_what_no_address_can_be(url):
    with pytest.raises(Refusal, match='cannot be fetched: ') as refusal:
        fetch(url, LIMITS, allow_local=True)
    assert refusal.value.status == 400


@pytest.mark.parametrize(
    'address, public',
    [
        ('8.8.8.8', True),
        ('2606:4700::1111', True),
        ('64:ff9b::808:808', True),
        ('64:ff9b::7f00:1', False),  # 127.0.0.1 behind a gateway
        ('2002:7f00:1::', False),  # the same, by 6to4
        ('::ffff:10.0.0.1', False),
        ('fe80::1%eth0', False),
        ('fd00::1', False),
        ('224.0.0.1', False),
        ('100.64.0.1', False),
        ('192.168.1.1', False),
    ],
)
def test_which_addresses_are_public(address, public):
    assert is_public(address) == public
