// Overlaps of axis-aligned boxes, all pairs or aligned.
#include <vector>

#include "common/box.h"
#include "common/op.h"
#include "cpu/vectorize.h"

namespace ops {
namespace {

// One box against n others, stored as structure of arrays: 5 rows (x1, y1, x2, y2, area) of `stride`.
template <typename T>
OPS_INLINE void overlap_row_body(const Box<T>& box, const T* others, int64_t stride, int64_t n, int mode, T offset,
                                 T* out) {
  const T area_box = area(box, offset);
  for (int64_t i = 0; i < n; ++i) {
    const Box<T> other{others[i], others[stride + i], others[2 * stride + i], others[3 * stride + i]};
    out[i] = overlap(box, area_box, other, others[4 * stride + i], mode, offset);
  }
}

OPS_VECTORIZED void overlap_row(const Box<float>& box, const float* others, int64_t stride, int64_t n, int mode,
                                float offset, float* out) {
  overlap_row_body(box, others, stride, n, mode, offset, out);
}

OPS_VECTORIZED void overlap_row(const Box<double>& box, const double* others, int64_t stride, int64_t n, int mode,
                                double offset, double* out) {
  overlap_row_body(box, others, stride, n, mode, offset, out);
}

template <typename T, typename S>
std::vector<T> structure_of_arrays(const S* boxes, int64_t n, T offset) {
  std::vector<T> rows(5 * n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t k = 0; k < 4; ++k) rows[k * n + i] = static_cast<T>(boxes[4 * i + k]);
    rows[4 * n + i] = area(load_box<T>(boxes + 4 * i), offset);
  }
  return rows;
}

Tensor bbox_overlaps_cpu(const Tensor& a_in, const Tensor& b_in, int64_t mode, bool aligned, int64_t offset) {
  const Tensor a = contiguous(a_in), b = contiguous(b_in);
  const int64_t n = a.size(0), m = b.size(0), columns = aligned ? 1 : m;
  Tensor out = aligned ? torch::stable::new_empty(a, {n}) : torch::stable::new_empty(a, {n, m});
  dispatch_floating(a.scalar_type(), "bbox_overlaps", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    const auto others = structure_of_arrays<T>(data<S>(b), m, T(offset));
    const S* boxes = data<S>(a);
    S* result = mutable_data<S>(out);
    torch::stable::parallel_for(0, n, 1 + 16384 / (columns + 1), [&](int64_t begin, int64_t end) {
      std::vector<T> row(columns);
      for (int64_t i = begin; i < end; ++i) {
        overlap_row(load_box<T>(boxes + 4 * i), others.data() + (aligned ? i : 0), m, columns, static_cast<int>(mode),
                    T(offset), row.data());
        for (int64_t j = 0; j < columns; ++j) result[i * columns + j] = static_cast<S>(row[j]);
      }
    });
  });
  return out;
}

}  // namespace

OPS_REGISTER(m) { m.def("bbox_overlaps(Tensor a, Tensor b, int mode, bool aligned, int offset) -> Tensor"); }

OPS_IMPLEMENT(CPU, m) { m.impl("bbox_overlaps", TORCH_BOX(&bbox_overlaps_cpu)); }

}  // namespace ops
