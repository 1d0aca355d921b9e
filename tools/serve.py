"""Serve a detector over HTTP: see docs/serve.md."""

from mmdetlike.cli.serve import main
from mmdetlike.utils.command import run_tool

if __name__ == '__main__':
    run_tool(main)
