"""Draw the images that a detector does best and worst on: `mmdetlike analyze-results` from a clone."""

from mmdetlike.cli.analyze_results import main
from mmdetlike.utils.command import run_tool

if __name__ == '__main__':
    run_tool(main)
