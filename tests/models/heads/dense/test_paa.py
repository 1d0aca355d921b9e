"""PAA: the mixture that tells which candidates learn an object, and voting."""

import pytest
import torch

from mmdetlike.models.heads.dense.paa_head import likely_columns, vote
from mmdetlike.models.heads.dense.predictions import Candidates
from mmdetlike.models.utils import fit_two_gaussians, ranks_in_groups
from mmdetlike.registry import MODELS

LOSSES = torch.tensor([[0.2, 0.3, 0.35, 0.4, 1.5, 1.9, 2.0, 2.4]])
# log likelihoods of scikit-learn 1.9's GaussianMixture, from the same initial values
EVIDENCE = {
    False: [-0.16476, 0.97789, 0.86363, 0.29230, -1.46091, -0.48535, -0.48535, -1.46093],
    True: [-0.26980, -0.15403, -0.16560, -0.22348, -2.02802, -0.17574, -0.17574, -2.02801],
}


@pytest.mark.parametrize('tied', EVIDENCE)
def test_mixture_is_that_of_scikit_learn(tied):
    padded = torch.cat([LOSSES, torch.full((1, 3), 99.0)], dim=1)
    joint = fit_two_gaussians(padded, padded < 99, tied)[0, : LOSSES.shape[1]]
    torch.testing.assert_close(joint.logsumexp(-1), torch.tensor(EVIDENCE[tied]).double(), atol=2e-5, rtol=0)
    assert joint.argmax(-1).tolist() == [0] * 4 + [1] * 4


def test_rows_are_fitted_each_by_itself():
    rows = torch.cat([LOSSES, LOSSES.flip(1).square(), torch.full_like(LOSSES, 2.0)])
    together = fit_two_gaussians(rows, torch.ones_like(rows, dtype=torch.bool))
    alone = torch.cat([fit_two_gaussians(row[None], torch.ones(1, 8, dtype=torch.bool)) for row in rows])
    torch.testing.assert_close(together, alone)
    assert bool(torch.isfinite(together).all())


def test_positives_end_at_the_most_likely_loss():
    one, none = torch.full_like(LOSSES, torch.nan), torch.full_like(LOSSES, torch.nan)
    one[0, 0] = 0.5
    likely = likely_columns(torch.cat([LOSSES, one, none]), tied=False)
    # the second has the largest likelihood of the first component; one candidate alone is no mixture
    assert likely.tolist() == [[True, True] + [False] * 6, [False] * 8, [False] * 8]


def test_ranks_count_within_groups():
    values, groups = torch.tensor([3.0, 1.0, 2.0, 5.0, 4.0]), torch.tensor([1, 1, 0, 1, 0])
    assert ranks_in_groups(values.argsort(), groups).tolist() == [1, 0, 0, 2, 1]


def test_voting_moves_boxes_to_what_is_around_them():
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0], [40.0, 40.0, 50.0, 50.0]])
    scores, labels = torch.tensor([0.8, 0.4, 0.6]), torch.tensor([1, 1, 0])
    candidates = Candidates(scores, labels, torch.arange(3), boxes)
    result = vote(candidates[torch.tensor([0, 2])], candidates)
    share = 0.4 * torch.tensor(-(0.1**2) / 0.025).exp()
    assert result.labels.tolist() == [0, 1]  # class by class
    torch.testing.assert_close(result.boxes[0], boxes[2])
    torch.testing.assert_close(result.boxes[1, 3], (0.8 * 10 + share * 9) / (0.8 + share))


def test_unknown_covariance_is_refused():
    with pytest.raises(ValueError, match=r"covariance_type must be one of .*, got 'round'"):
        MODELS.build(dict(type='PAAHead', num_classes=3, in_channels=8, covariance_type='round'))
