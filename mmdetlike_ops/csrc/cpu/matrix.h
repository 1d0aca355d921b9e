// Matrix products by PyTorch's BLAS on plain memory; inside `parallel_for` each runs on its own thread.
#pragma once

#include <torch/csrc/inductor/aoti_torch/generated/c_shim_cpu.h>

#include <algorithm>
#include <new>
#include <vector>

#include "common/op.h"

namespace ops {

constexpr std::align_val_t kAlignment{64};

template <typename T>
struct AlignedAllocator {
  using value_type = T;

  AlignedAllocator() = default;
  template <typename U>
  AlignedAllocator(const AlignedAllocator<U>&) {}

  T* allocate(size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), kAlignment)); }
  void deallocate(T* p, size_t) { ::operator delete(p, kAlignment); }
  bool operator==(const AlignedAllocator&) const { return true; }
  bool operator!=(const AlignedAllocator&) const { return false; }
};

// Memory for factors of products: a BLAS may sum in another order where the alignment differs.
template <typename T>
using Buffer = std::vector<T, AlignedAllocator<T>>;

// Element (i, j) is data[i * row + j * column]; one of the strides is 1.
template <typename T>
struct Matrix {
  T* data;
  int64_t rows, columns, row, column;

  Matrix transposed() const { return {data, columns, rows, column, row}; }
  Matrix block(int64_t first_row, int64_t row_count, int64_t first_column, int64_t column_count) const {
    return {data + first_row * row + first_column * column, row_count, column_count, row, column};
  }
};

template <typename T>
Tensor tensor_over(const Matrix<T>& m) {
  using S = std::remove_const_t<T>;
  constexpr ScalarType dtype = std::is_same_v<S, double> ? ScalarType::Double : ScalarType::Float;
  const int64_t sizes[] = {m.rows, m.columns}, strides[] = {m.row, m.column};
  return torch::stable::from_blob(const_cast<S*>(m.data), sizes, strides,
                                  torch::stable::Device(torch::headeronly::DeviceType::CPU), dtype);
}

constexpr int64_t kDepth = 256;

// c = a b, or c + a b. Calls the kernel itself: threads of a parallel region have no dispatcher state. Depth is cut
// into pieces because a BLAS sums long ones in another order inside a parallel region than outside.
template <typename T>
void multiply(const Matrix<const T>& a, const Matrix<const T>& b, bool add, const Matrix<T>& c) {
  const Tensor out = tensor_over(c);
  for (int64_t k = 0; k < a.columns; k += kDepth, add = true) {
    const int64_t depth = std::min(kDepth, a.columns - k);
    const Tensor left = tensor_over(a.block(0, a.rows, k, depth)), right = tensor_over(b.block(k, depth, 0, b.columns));
    TORCH_ERROR_CODE_CHECK(
        aoti_torch_cpu_addmm_out(out.get(), out.get(), left.get(), right.get(), add ? 1.0 : 0.0, 1.0));
  }
}

}  // namespace ops
