#!/usr/bin/env bash
# Make .venv with torch, this package (kernels compiled) and what its tests need. Running it again is quick.
#   PYTHON  the interpreter to start from (default: python3)
#   TORCH   what to install where there is no torch yet (default: torch==2.13.0)
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x .venv/bin/python ] || "${PYTHON:-python3}" -m venv .venv
pip() { .venv/bin/python -m pip --disable-pip-version-check --quiet "$@"; }
.venv/bin/python -c 'import torch' 2>/dev/null || pip install "${TORCH:-torch==2.13.0}"
pip install -r requirements/build.txt
pip install --no-build-isolation --editable '.[tests]'
