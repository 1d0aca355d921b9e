import pytest
import torch

from mmdetlike_ops import (
    deform_roi_pool,
    masked_conv2d,
    nms,
    prroi_pool,
    roi_align,
    roi_pool,
)


@pytest.fixture(autouse=True)
def dynamic_shapes():
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        yield
    torch._dynamo.reset()


def compiled(function):
    return torch.compile(function, fullgraph=True, backend='aot_eager')


def deformed(x, rois, size, scale):
    offset = rois[:, 1:, None, None].expand(-1, -1, size, size)[:, :2] / 100
    return deform_roi_pool(x, rois, offset, size, scale)


@pytest.mark.parametrize('pool', [roi_align, roi_pool, deformed, prroi_pool], ids=lambda pool: pool.__name__)
def test_pooling_compiles_with_its_gradient(rng, random_rois, pool):
    fast = compiled(lambda x, rois: pool(x * 2, rois, 3, 0.25))
    for k in (6, 9):
        x, rois = torch.randn(2, 5, 20, 30, generator=rng).requires_grad_(), random_rois(k)
        out, expected = fast(x, rois), pool(x * 2, rois, 3, 0.25)
        torch.testing.assert_close(out, expected)
        (grad,) = torch.autograd.grad(out.square().sum(), x)
        (wanted,) = torch.autograd.grad(expected.square().sum(), x)
        torch.testing.assert_close(grad, wanted)


def test_nms_compiles(rng, random_boxes):
    fast = compiled(lambda boxes, scores: nms(boxes + 1, scores, 0.5, max_num=20))
    for n in (50, 80):
        boxes, scores = random_boxes(n), torch.rand(n, generator=rng)
        dets, kept = fast(boxes, scores)
        expected = nms(boxes + 1, scores, 0.5, max_num=20)
        assert torch.equal(kept, expected[1])
        assert torch.equal(dets, expected[0])


def test_masked_convolution_compiles(rng):
    fast = compiled(lambda x, mask, weight: masked_conv2d(x, mask, weight, padding=1))
    x, weight = torch.randn(1, 4, 8, 9, generator=rng), torch.randn(6, 4, 3, 3, generator=rng)
    for share in (0.2, 0.7):
        mask = torch.rand(1, 8, 9, generator=rng) < share
        torch.testing.assert_close(fast(x, mask, weight), masked_conv2d(x, mask, weight, padding=1))


def test_roi_align_exports(rng, random_rois):
    class Net(torch.nn.Module):
        def forward(self, x, rois):
            return roi_align(x, rois, 3, 0.25)

    x, rois = torch.randn(2, 5, 20, 30, generator=rng), random_rois(6)
    count = torch.export.Dim('count', min=2)
    program = torch.export.export(Net(), (x, rois), dynamic_shapes=({}, {0: count}))
    more = random_rois(11)
    torch.testing.assert_close(program.module()(x, more), Net()(x, more))
