"""Print a config with everything that it inherits, or what a type takes: `mmdetlike config` from a clone."""

from mmdetlike.cli.config import main
from mmdetlike.utils.command import run_tool

if __name__ == '__main__':
    run_tool(main)
