#!/usr/bin/env bash
# The feature `cuda` compiles, kernels of candle included, and so do the tests that need a device. NVIDIA's compiler comes
# from PyPI: neither a toolkit nor a driver nor a GPU is needed. Where a driver and cuBLAS, cuRAND and NVRTC are
# installed, cuDNN too, the tests are linked and run. Needs Python 3.9 with venv, and g++; takes some twenty minutes on two
# cores, nearly all of it for kernels of candle.
#
#   ci/cuda.sh
#   CUDA_COMPUTE_CAP      what the kernels are compiled for [90]
#   CUDA_VENV             where the compiler is put, and looked for [target/cuda-venv]
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${CUDA_VENV:-target/cuda-venv}
home() { (cd "$venv" 2>/dev/null && ls -d "$PWD"/lib/python3*/site-packages/nvidia/cu13 2>/dev/null); }
if [ ! -x "$(home)/bin/nvcc" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check \
        'nvidia-cuda-nvcc==13.0.*' 'nvidia-cuda-runtime==13.0.*' 'nvidia-cuda-crt==13.0.*' \
        'nvidia-cuda-cccl==13.0.*' 'nvidia-nvvm==13.0.*'
fi
CUDA_HOME=$(home)
export CUDA_HOME CUDA_COMPUTE_CAP="${CUDA_COMPUTE_CAP:-90}" PATH="$CUDA_HOME/bin:$PATH"
nvcc --version | tail -n 2

# One choice of packages and features: with another, candle's kernels would be compiled again.
all=(-p xtask -p collapse-models -p collapse-kernels --features "xtask/cuda,collapse-models/cuda,collapse-kernels/cuda")
cargo check "${all[@]}" --all-targets

installed() { ldconfig -p | grep -q "$1"; }
if installed libcuda.so && installed libcublas.so && installed libcurand.so && installed libnvrtc.so && installed libcudnn.so; then
    # The wheel has the library under its full name only, where a linker does not look for it.
    ln -sf libcudart.so.13 "$CUDA_HOME/lib/libcudart.so"
    export LIBRARY_PATH="$CUDA_HOME/lib" LD_LIBRARY_PATH="$CUDA_HOME/lib:${LD_LIBRARY_PATH:-}"
    cargo test "${all[@]}" --test device --test cuda -- --nocapture
else
    echo "skipped: the tests on a GPU, since CUDA's driver and libraries, cuDNN among them, are not installed here"
fi
