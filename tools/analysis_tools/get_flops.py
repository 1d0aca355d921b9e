"""Count what a detector computes: `mmdetlike get-flops` from a clone."""

from mmdetlike.cli.get_flops import main
from mmdetlike.utils.command import run_tool

if __name__ == '__main__':
    run_tool(main)
