"""Plot curves from logs of training, or measure its speed: `mmdetlike logs` from a clone."""

from mmdetlike.cli.logs import main
from mmdetlike.utils.command import run_tool

if __name__ == '__main__':
    run_tool(main)
