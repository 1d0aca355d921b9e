"""The output folder of a job: its plan, and one Parquet file for each shard that is done."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from mmdetlike.errors import ConfigError
from mmdetlike.utils.outputs import check_folder
from mmdetlike.utils.whole_files import write_whole

from .pictures import Picture

PLAN = 'plan.json'
BROKEN = 'broken.jsonl'


class Shards:
    """Which pictures form a shard, which shards are done, and where the results of each go.

    A shard is done when its Parquet file is there: it is written under another name, then renamed, so a file is whole
    or absent, whenever a run is killed. What a run is about stands in ``plan.json``, and a run about something else is
    refused.

    Args:
        folder: Output folder.
        pictures: All pictures of the job, in order.
        size: Pictures of a shard.
        settings: What else the results depend on, such as the digests of config and weights, by name.
    """

    def __init__(self, folder: str | Path, pictures: Sequence[Picture], size: int, settings: dict[str, object]) -> None:
        # absolute: workers may run elsewhere
        self.folder = Path(folder).expanduser().absolute()
        self.pictures = pictures
        self.size = size
        self.plan = dict(settings, pictures=len(pictures), list=digest_of(pictures), shard_size=size)

    def __len__(self) -> int:
        return -(-len(self.pictures) // self.size)

    def pictures_of(self, shard: int) -> Sequence[Picture]:
        """The pictures of one shard."""
        return self.pictures[shard * self.size : (shard + 1) * self.size]

    def start(self, overwrite: bool = False) -> list[int]:
        """Make or check the folder; returns the shards that are still to be done.

        Args:
            overwrite: Remove the results of another run that are there.

        Raises:
            ConfigError: The folder holds the results of a run with another plan, or other files.
            OutputError: Nothing can be written there.
        """
        check_folder(self.folder)
        if overwrite:
            self._remove_results()
        self.folder.mkdir(parents=True, exist_ok=True)
        if (self.folder / PLAN).exists():
            self._check_plan()
        elif any(self.folder.iterdir()):
            raise ConfigError(f'{self.folder} holds files of something else: give an empty folder')
        else:
            write_whole(self.folder / PLAN, json.dumps(self.plan, indent=2).encode())
        return [shard for shard in range(len(self)) if not result_file(self.folder, shard).exists()]

    def _check_plan(self) -> None:
        earlier = self._earlier_plan()
        differing = [name for name in {**self.plan, **earlier} if self.plan.get(name) != earlier.get(name)]
        if differing:
            told = ', '.join(f'{name} {earlier.get(name)!r}, now {self.plan.get(name)!r}' for name in differing)
            raise ConfigError(
                f'{self.folder} holds the results of another run ({told}): give another folder, or --overwrite'
            )

    def _earlier_plan(self) -> dict:
        path = self.folder / PLAN
        try:
            earlier = json.loads(path.read_text())
        except ValueError as error:
            earlier = error
        if not isinstance(earlier, dict):
            raise ConfigError(f'{path} is damaged ({earlier}): give another folder, or --overwrite')
        return earlier

    def _remove_results(self) -> None:
        """Remove what a run wrote, and nothing else: without a plan it is none of ours."""
        if not (self.folder / PLAN).exists():
            return
        for path in [*self.folder.glob('part-*'), *self.folder.glob('.part-*'), self.folder / BROKEN]:
            path.unlink(missing_ok=True)
        shutil.rmtree(self.folder / 'broken', ignore_errors=True)
        (self.folder / PLAN).unlink()

    def finish(self) -> int:
        """Write ``broken.jsonl`` with the broken pictures of all shards; returns how many there are."""
        files = [broken_file(self.folder, shard) for shard in range(len(self))]
        lines = [line for path in files if path.exists() for line in path.read_text().splitlines()]
        write_whole(self.folder / BROKEN, ''.join(f'{line}\n' for line in lines).encode())
        return len(lines)


def result_file(folder: Path, shard: int) -> Path:
    """The results of a shard."""
    return folder / f'part-{shard:06d}.parquet'


def broken_file(folder: Path, shard: int) -> Path:
    """The broken pictures of a shard, each with the reason; absent where there is none."""
    return folder / 'broken' / f'part-{shard:06d}.jsonl'


def digest_of(pictures: Sequence[Picture]) -> str:
    """A short text that differs where the pictures or their order do."""
    digest = sha256()
    for picture in pictures:
        digest.update(f'{picture.key}\0{picture.path}\0{picture.row}\n'.encode(errors='surrogateescape'))
    return digest.hexdigest()[:16]
