#!/bin/sh
# Everything that a GPU can show, in one command from a bare checkout: the kernels' tests on it, then hisho-bench gpu --json.
# Needs nvcc, meson and ninja. Without a GPU it says so and ends with 77.
#
# usage: bench/gpu.sh [MODEL.gguf]
set -eu
cd "$(dirname "$0")/.."
[ -e /dev/nvidiactl ] || { echo "no GPU here: there is no /dev/nvidiactl"; exit 77; }
command -v nvcc >/dev/null || [ -x /usr/local/cuda/bin/nvcc ] || { echo "no nvcc here: the plug-in cannot be built"; exit 77; }
build=build-gpu
[ -f $build/build.ninja ] || meson setup $build -Dcuda=enabled -Dgpu_code=native -Dbuildtype=release
meson compile -C $build
meson test -C $build --suite cuda --print-errorlogs
HISHO_CUDA_PLUGIN=$PWD/$build/inference/hisho-cuda.so $build/bench/hisho-bench gpu --json ${1:+--model "$1"}
