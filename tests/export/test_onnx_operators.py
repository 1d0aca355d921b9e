"""Operators as they are written to ONNX, run by onnxruntime."""

import pytest
import torch

from mmdetlike.export.onnx_program import read_onnx, write_onnx
from mmdetlike.export.program import Sizes
from tests.export.test_families import skip_without_packages

SIZES = Sizes((4, 4), (40, 40))


class Remainder(torch.nn.Module):
    """Remainders by the images' area, which stays open, and by a number; of negative ones, too."""

    def forward(self, image):
        area = image.shape[2] * image.shape[3]
        indices = torch.arange(-50, 50, 3)
        return dict(by_area=indices % area, by_number=indices % 7, of_fractions=indices / 4 % 1.5, by_less=indices % -7)


def test_remainders(tmp_path):
    skip_without_packages('onnx')
    sides = {2: torch.export.Dim('height', max=40), 3: torch.export.Dim('width', max=40)}
    program = torch.export.export(Remainder(), (torch.zeros(1, 3, 5, 6),), dynamic_shapes=(sides,))
    write_onnx(program, tmp_path / 'model.onnx', ['by_area', 'by_number', 'of_fractions', 'by_less'], SIZES, {})
    image = torch.zeros(1, 3, 4, 7)
    got = read_onnx(tmp_path / 'model.onnx').run(image)
    for name, expected in Remainder()(image).items():
        torch.testing.assert_close(got[name], expected)


@pytest.mark.parametrize('is_descending', [False, True])
def test_equal_values_are_sorted_in_their_order(is_descending, tmp_path):
    skip_without_packages('onnx')

    class Sort(torch.nn.Module):
        def forward(self, image):
            values, order = image.flatten().sort(stable=True, descending=is_descending)
            return dict(values=values, order=order)

    image = torch.randint(0, 4, (1, 3, 4, 5), generator=torch.Generator().manual_seed(0)).float()
    program = torch.export.export(Sort(), (image,))
    write_onnx(program, tmp_path / 'model.onnx', ['values', 'order'], Sizes.fixed(4, 5), {})
    got = read_onnx(tmp_path / 'model.onnx').run(image)
    for name, expected in Sort()(image).items():
        torch.testing.assert_close(got[name], expected)
