"""Write a training as one HTML page: `mmdetlike report` from a clone."""

from mmdetlike.cli.report import main
from mmdetlike.utils.command import run_tool

if __name__ == '__main__':
    run_tool(main)
