"""Write a detector as a program that runs without its config and checkpoint: see docs/deploy.md."""

from mmdetlike.cli.deploy import main
from mmdetlike.utils.command import run_tool

if __name__ == '__main__':
    run_tool(main)
