// Launching kernels on PyTorch's current stream without linking to PyTorch's CUDA library.
#pragma once

#include <cuda_runtime.h>
#include <dlfcn.h>
#include <torch/csrc/stable/accelerator.h>

#include <algorithm>

#include "common/op.h"

namespace ops {

constexpr int kThreads = 256;

// A CPU build of torch lacks libtorch_cuda.so, so the function is looked up where a CUDA tensor proves it loaded.
inline cudaStream_t current_stream(int32_t device) {
  using Getter = int32_t (*)(int32_t, void**);
  static const Getter getter = [] {
    void* library = dlopen("libtorch_cuda.so", RTLD_NOLOAD | RTLD_LAZY);
    return library ? reinterpret_cast<Getter>(dlsym(library, "aoti_torch_get_current_cuda_stream")) : nullptr;
  }();
  void* stream = nullptr;
  STD_TORCH_CHECK(getter && getter(device, &stream) == 0, "mmdetlike_ops: libtorch_cuda.so gives no current stream");
  return static_cast<cudaStream_t>(stream);
}

// The device of a tensor, current while this lives, and its stream.
class Launcher {
 public:
  explicit Launcher(const Tensor& x) : guard_(x.get_device_index()), stream_(current_stream(x.get_device_index())) {}

  template <typename... P, typename... A>
  void operator()(void (*kernel)(P...), dim3 blocks, int threads, const A&... arguments) const {
    kernel<<<blocks, threads, 0, stream_>>>(static_cast<P>(arguments)...);
    const cudaError_t error = cudaGetLastError();
    STD_TORCH_CHECK(error == cudaSuccess, "mmdetlike_ops: a CUDA kernel was not launched: ", cudaGetErrorString(error));
  }

  // One thread an element; kernels loop over `for_each_index`.
  template <typename... P, typename... A>
  void elementwise(int64_t count, void (*kernel)(P...), const A&... arguments) const {
    const int64_t blocks = std::min<int64_t>((count + kThreads - 1) / kThreads, 1 << 20);
    if (count > 0) (*this)(kernel, dim3(static_cast<unsigned>(blocks)), kThreads, arguments...);
  }

 private:
  torch::stable::accelerator::DeviceGuard guard_;
  cudaStream_t stream_;
};

// Calls f(i) for this thread's share of 0 .. count - 1.
template <typename F>
__device__ __forceinline__ void for_each_index(int64_t count, const F& f) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) f(i);
}

template <typename T>
constexpr ScalarType accumulate_dtype() {
  return std::is_same_v<T, double> ? ScalarType::Double : ScalarType::Float;
}

template <typename T, typename S>
__global__ void cast_kernel(const T* from, S* to, int64_t count) {
  for_each_index(count, [&](int64_t i) { to[i] = static_cast<S>(from[i]); });
}

// `x`, which holds Accumulate<S>, as S.
template <typename S>
Tensor cast(const Launcher& launch, Tensor x, const Tensor& like) {
  using T = Accumulate<S>;
  if constexpr (std::is_same_v<T, S>) return x;
  Tensor out = torch::stable::new_empty(x, x.sizes(), like.scalar_type());
  launch.elementwise(x.numel(), cast_kernel<T, S>, data<T>(x), mutable_data<S>(out), x.numel());
  return out;
}

}  // namespace ops
