// Sums over the threads of a block, always in the same order.
#pragma once

#include "cuda/launch.h"

namespace ops {

constexpr int kReduceThreads = 128;

// The sum of `value` over the kReduceThreads threads of a block, in each of them.
template <typename T>
__device__ T block_sum(T value) {
  __shared__ T parts[kReduceThreads];
  parts[threadIdx.x] = value;
  __syncthreads();
  for (int half = kReduceThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) parts[threadIdx.x] += parts[threadIdx.x + half];
    __syncthreads();
  }
  const T sum = parts[0];
  __syncthreads();
  return sum;
}

}  // namespace ops
