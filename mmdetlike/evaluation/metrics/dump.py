"""Metrics that write predictions to a file instead of scoring them."""

import os.path as osp
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.dist import get_dist_info
from mmengine.evaluator import BaseMetric, DumpResults
from mmengine.fileio import dump
from mmengine.logging import print_log

from ...datasets.proposals import proposal_key
from ...errors import ConfigError
from ...registry import METRICS
from .convert import boxes_of, encode_masks, to_numpy


@METRICS.register_module()
class DumpDetResults(DumpResults):
    """Write all predictions to a pickle: a list of ``DetDataSample.to_dict()`` on the CPU, masks run-length encoded.

    Ground truth and proposals are left out, so that the file stays small.

    Args:
        out_file_path: The file, ending in ``.pkl`` or ``.pickle``.
        collect_device: 'cpu' or 'gpu': where the results of several processes are put together.
        collect_dir: Directory through which they are put together on the CPU.
    """

    def process(self, data_batch, data_samples: Sequence[dict]) -> None:
        """Keep the predictions of ``data_samples``."""
        left_out = ('gt_instances', 'ignored_instances', 'gt_panoptic_seg', 'gt_sem_seg', 'proposals')
        samples = [{k: v for k, v in sample.items() if k not in left_out} for sample in data_samples]
        super().process(data_batch, [_with_encoded_masks(sample) for sample in samples])

    def write_rest(self) -> None:
        """After a test has broken off, write the predictions made until then to ``NAME.partial.pkl``."""
        if not self.results:
            return
        path = Path(self.out_file_path)
        rank, size = get_dist_info()
        path = path.with_name(f'{path.stem}.partial{f"_{rank}" if size > 1 else ""}{path.suffix}')
        dump(self.results, str(path))
        print_log(f'{len(self.results)} predictions that were made before are in {path}', logger='current')


def _with_encoded_masks(sample: dict) -> dict:
    instances = sample.get('pred_instances')
    if not instances or 'masks' not in instances:
        return sample
    return {**sample, 'pred_instances': {**instances, 'masks': encode_masks(instances['masks'])}}


@METRICS.register_module()
class DumpProposals(BaseMetric):
    """Write the boxes of a proposal network to a pickle that a dataset reads as ``proposal_file``.

    The file maps folder and name of each image file to ``dict(bboxes=(n, 4) xyxy, scores=(n,))``, arrays, best first.

    Args:
        output_dir: Directory of the file.
        proposals_file: Name of the file.
        num_max_proposals: Keep at most so many boxes of an image; all if None.
        collect_device: 'cpu' or 'gpu': where the results of several processes are put together.
        prefix: Unused by this metric's results, which are none.
        collect_dir: Directory through which they are put together on the CPU.
    """

    default_prefix = 'dump_proposals'

    def __init__(
        self,
        output_dir: str = '',
        proposals_file: str = 'proposals.pkl',
        num_max_proposals: int | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        if not proposals_file.endswith(('.pkl', '.pickle')):
            raise ConfigError(f'proposals_file should end in .pkl or .pickle, got {proposals_file!r}.')
        self.path = osp.join(output_dir, proposals_file)
        self.num_max_proposals = num_max_proposals

    def process(self, data_batch, data_samples: Sequence[dict]) -> None:
        """Keep the best boxes of ``data_samples``."""
        for sample in data_samples:
            boxes = boxes_of(sample['pred_instances']['bboxes'], type(self).__name__)
            scores = to_numpy(sample['pred_instances']['scores'])
            order = np.argsort(-scores, kind='stable')[: self.num_max_proposals]
            self.results.append((proposal_key(sample['img_path']), {'bboxes': boxes[order], 'scores': scores[order]}))

    def compute_metrics(self, results: list[tuple[str, dict]]) -> dict:
        """Write the file; there are no scores."""
        dump(dict(results), self.path)
        return {}
