# Sourced by the launchers, which set `tools`: lets Python find the package of this clone if its kernels are compiled
# here. Where `pip install .` has put package and kernels elsewhere, the clone alone would not run.
if [ -e "$tools/../mmdetlike_ops/_C.abi3.so" ]; then
    export PYTHONPATH="$tools/..${PYTHONPATH:+:$PYTHONPATH}"
fi
