#!/usr/bin/env bash
# Everything that needs a CUDA device, in one command: builds the kernels for it, runs the tests marked gpu, then the
# benchmark, whose table comes last and ends with the verdict of the tests.
#
#     bash tests/gpu/check.sh [arguments of pytest, default: tests]
#
# Needs nvcc and an installed torch; nothing is downloaded. PYTHON names the interpreter. Exits with 0 if all is well, 1
# if something failed, 2 if there is no GPU.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

capability=$("$python" -c '
import torch
print("%d.%d" % torch.cuda.get_device_capability() if torch.cuda.is_available() else "")
')
if [[ -z $capability ]]; then
    echo "tests/gpu/check.sh: no GPU: torch finds no CUDA device here, so nothing was checked" >&2
    exit 2
fi

echo "== build for compute capability $capability"
MMDETLIKE_OPS_CUDA=1 TORCH_CUDA_ARCH_LIST=${TORCH_CUDA_ARCH_LIST:-$capability} \
    "$python" setup.py -q build_ext --inplace >/dev/null || { echo "tests/gpu/check.sh: the build failed" >&2; exit 1; }

echo "== tests marked gpu"
tests=PASS
"$python" -m pytest -m gpu "${@:-tests}" || tests=FAIL

echo "== benchmark"
benchmark=PASS
"$python" -m mmdetlike_ops.benchmark --device cuda || benchmark=FAIL
printf '%-56s %s\n' 'tests marked gpu' "$tests"
if [[ $benchmark == FAIL ]]; then printf '%-56s %s\n' 'benchmark, which stopped above' "$benchmark"; fi
[[ $tests == PASS && $benchmark == PASS ]]
