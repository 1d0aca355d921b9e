#!/usr/bin/env bash
# Make .venv with torch, this package (kernels compiled) and what its tests need. Run again, it does what has changed.
#   PYTHON  the interpreter to start from (default: python3)
#   TORCH   the torch to have, e.g. torch==2.10.0 (default: the one that is there, or else torch==2.13.0)
# What the compilation of the kernels reads (MMDETLIKE_OPS_CUDA, MAX_JOBS, ...) is told at the top of setup.py.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python
stamp=.venv/installed  # what the packages in .venv were installed for
say() { printf '== %s (%s s)\n' "$*" "$SECONDS"; }
pip() { "$python" -m pip --disable-pip-version-check "$@"; }
torch_version() { "$python" -c 'import importlib.metadata as m; print(m.version("torch"))' 2>/dev/null; }
wanted() { { echo "$PWD"; torch_version; cat requirements/*.txt pyproject.toml setup.cfg mmdetlike/version.py; } | cksum; }

if [ ! -x "$python" ]; then
    say 'making .venv'
    "${PYTHON:-python3}" -m venv .venv
fi
if [ -n "${TORCH:-}" ] || ! torch_version >/dev/null; then
    say "installing ${TORCH:-torch==2.13.0}: a download of 200 MB, or of several GB with CUDA"
    pip install "${TORCH:-torch==2.13.0}"
fi
if [ "$(cat "$stamp" 2>/dev/null)" = "$(wanted)" ]; then
    say 'all packages are installed already'
    "$python" setup.py --quiet build_ext --inplace
else
    say 'installing what compiling needs'
    pip install --quiet -r requirements/build.txt
    say 'compiling the kernels'
    "$python" setup.py --quiet build_ext --inplace
    say 'installing this package and what its tests need'
    pip install --quiet --no-build-isolation --editable '.[tests]'
    wanted > "$stamp"
fi
say "done: torch $(torch_version); next: $python tools/train.py configs/quickstart/faster-rcnn_r18_fpn_shapes.py"
