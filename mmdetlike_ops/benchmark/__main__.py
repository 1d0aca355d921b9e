"""`python -m mmdetlike_ops.benchmark`."""

import argparse
import json
from collections.abc import Sequence

import torch

from . import __doc__ as description
from .cases import CASES
from .measure import Case, Machine, measure, measure_machine

HEADER = f'{"case":56} {"time, ms":>9} {"ratio":>8} {"MB":>8} {"GFLOP":>8} {"share of limit":>16}  target'


def main(arguments: Sequence[str] | None = None) -> None:
    """Time the cases and print a table, or with --json a list of what `measure` returns."""
    args = _parse(arguments)
    device = torch.device(args.device)
    torch.manual_seed(0)
    machine = measure_machine(device, args.repeats)
    if not args.json:
        print(_about(machine, args.device), HEADER, sep='\n')
    results = []
    for cases in CASES:
        for case in map(Case.of, cases(device)):
            if args.only in case.name:
                results.append(measure(case, machine, args.repeats))
                if not args.json:
                    print(row(results[-1]), flush=True)
    if args.json:
        print(json.dumps(results, indent=1))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument('--device', default='cpu', choices=('cpu', 'cuda'))
    parser.add_argument('--repeats', type=int, default=5, help='runs of which the fastest counts')
    parser.add_argument('--only', default='', metavar='SUBSTRING', help='only the cases with this in their names')
    parser.add_argument('--json', action='store_true', help='print a list of dicts instead of a table')
    args = parser.parse_args(arguments)
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('--device is cuda, but torch finds no CUDA device')
    return args


def _about(machine: Machine, device: str) -> str:
    return (
        f'torch {torch.__version__}, {device}, {torch.get_num_threads()} threads: '
        f'convolution {machine.convolution * 1e3:.2f} ms, copy {machine.bandwidth / 1e9:.1f} GB/s, '
        f'matrix product {machine.flops / 1e9:.0f} GFLOP/s'
    )


def row(result: dict) -> str:
    """A line of the table."""
    share = '' if result['share'] is None else f'{result["share"]:.0%} {result["limit"]}'
    target = '' if result['met'] is None else f'<= {result["target"]} {"met" if result["met"] else "MISSED"}'
    size, flops = (f'{result[key] / unit:.1f}' if result[key] else '' for key, unit in (('bytes', 1e6), ('flops', 1e9)))
    return (
        f'{result["name"]:56} {result["seconds"] * 1e3:9.2f} {result["ratio"]:8.3f} {size:>8} {flops:>8} {share:>16}  '
        f'{target}'
    ).rstrip()


if __name__ == '__main__':
    main()
