#!/usr/bin/env bash
# How fast a GPU trains and predicts, in one table on stdout that comes last: Mask R-CNN's training, the latency of twelve
# models, and kernels beside torchvision's where it is installed.
#
#     bash tests/gpu/measure.sh [arguments of tests/gpu/measure.py, as --only train]
#
# Needs an installed torch, and nvcc unless the kernels are built; no network. Ends within ten minutes on an H200:
# run tests/gpu/check.sh before, which builds the kernels. PYTHON names the interpreter. Exits with 0 if everything could be
# measured, 1 if something failed, 2 if there is no GPU (`--device cpu --tiny` tries the script without one).
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

if [[ " $* " != *" --device cpu "* ]]; then
    capability=$("$python" -c '
import torch
print("%d.%d" % torch.cuda.get_device_capability() if torch.cuda.is_available() else "")
')
    if [[ -z $capability ]]; then
        echo "tests/gpu/measure.sh: no GPU: torch finds no CUDA device here, so nothing was measured" >&2
        exit 2
    fi
    echo "== build for compute capability $capability, at once if it is there" >&2
    MMDETLIKE_OPS_CUDA=1 TORCH_CUDA_ARCH_LIST=${TORCH_CUDA_ARCH_LIST:-$capability} \
        "$python" setup.py -q build_ext --inplace >/dev/null || { echo "tests/gpu/measure.sh: the build failed" >&2; exit 1; }
fi
exec "$python" tests/gpu/measure.py "$@"
