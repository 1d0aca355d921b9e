"""Fetching files, whole or not at all."""

import hashlib
import http.client
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from mmdetlike.errors import CheckpointError
from mmdetlike.utils.whole_files import whole_file

CHUNK = 1 << 20
TIMEOUT = 30  # seconds without a byte
# the begin of the SHA-256 of a file that its name ends with, as OpenMMLab and torchvision write it
DIGEST = re.compile(r'-([0-9a-f]{8,64})\.\w+$')
OTHER_WAYS = (
    'or name a local file in its place (init_cfg=dict(checkpoint=...), load_from=...), or train from random weights '
    '(init_cfg=None).'
)


def download(url: str, path: Path) -> None:
    """Fetch a file, with a progress bar. Under its name there is the whole file or what was there before.

    Args:
        url: An http(s) address. If the name at its end holds the begin of a SHA-256, the content is compared with that.
        path: Where it goes.

    Raises:
        CheckpointError: It can't be fetched, is cut short or another file than its name says.
    """
    try:
        with whole_file(path) as file:
            digest = _copy(url, file, path.name)
            _check(url, path.name, digest)
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, 'reason', None) or error
        raise CheckpointError(
            f'could not download {url}: {reason}. Offline? Put the file at {path}, {OTHER_WAYS}'
        ) from error


def _copy(url: str, file: BinaryIO, name: str) -> str:
    """Write what is at ``url`` to a file; returns its SHA-256."""
    digest = hashlib.sha256()
    request = urllib.request.Request(url, headers={'User-Agent': 'mmdetlike'})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        length = int(response.headers.get('Content-Length') or 0)
        with tqdm(total=length or None, unit='B', unit_scale=True, desc=name) as bar:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                digest.update(chunk)
                bar.update(len(chunk))
            if length and bar.n < length:
                raise CheckpointError(f'{url} broke off after {bar.n} of {length} bytes: try again')
    return digest.hexdigest()


def _check(url: str, name: str, digest: str) -> None:
    expected = DIGEST.search(name)
    if expected is not None and not digest.startswith(expected[1]):
        raise CheckpointError(
            f'{url} is not the file that its name says: its SHA-256 begins with {digest[: len(expected[1])]}, expected '
            f'{expected[1]}. Nothing was kept; is a proxy or a login page in between?'
        )
