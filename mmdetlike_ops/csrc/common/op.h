// What every kernel file needs: the stable ABI, the tensor type, and the choice of a C++ type for a dtype.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Exception.h>
#include <torch/headeronly/util/Half.h>
#include <torch/headeronly/util/shim_utils.h>

#include <cstdint>
#include <optional>
#include <type_traits>

#define OPS_REGISTER(m) STABLE_TORCH_LIBRARY_FRAGMENT(mmdetlike_ops, m)
#define OPS_IMPLEMENT(device, m) STABLE_TORCH_LIBRARY_IMPL(mmdetlike_ops, device, m)

namespace ops {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using BFloat16 = c10::BFloat16;
using Half = c10::Half;

// Arithmetic type: float64 for float64, float32 for everything narrower.
template <typename T>
using Accumulate = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <typename T>
struct Type {
  using type = T;
};

// Calls f(Type<T>{}) with the C++ type of a floating dtype.
template <typename F>
void dispatch_floating(ScalarType dtype, const char* op, F&& f) {
  switch (dtype) {
    case ScalarType::Float: return f(Type<float>{});
    case ScalarType::Double: return f(Type<double>{});
    case ScalarType::Half: return f(Type<Half>{});
    case ScalarType::BFloat16: return f(Type<BFloat16>{});
    default: STD_TORCH_CHECK(false, op, ": the dtype must be float16, bfloat16, float32 or float64");
  }
}

using torch::stable::contiguous;

// A contiguous tensor of the arithmetic type: half precision as float32.
inline Tensor as_accumulate(const Tensor& x) {
  const bool is_double = x.scalar_type() == ScalarType::Double;
  return contiguous(torch::stable::to(x, is_double ? ScalarType::Double : ScalarType::Float));
}

template <typename T>
const T* data(const Tensor& x) {
  return static_cast<const T*>(x.data_ptr());
}

template <typename T>
T* mutable_data(Tensor& x) {
  return static_cast<T*>(x.data_ptr());
}

}  // namespace ops
