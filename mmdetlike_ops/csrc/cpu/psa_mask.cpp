// PSAMask, forward and backward: every pair of a pixel and a pixel that its mask sees is copied. A task is a row of
// pixels of an image with the masks that belong to it.
#include <algorithm>

#include "common/psa.h"

namespace ops {
namespace {

struct Range {
  int64_t begin, end;
};

// The positions along one axis that the mask at `position` sees.
Range seen(int64_t position, int64_t mask, int64_t length) {
  const int64_t first = position - (mask - 1) / 2;
  return {std::max<int64_t>(first, 0), std::min(first + mask, length)};
}

// Calls f(offset in the masks, offset in the attention) for all pairs of pixels of row y and a row that they see, so
// that neighbouring calls write next to each other.
template <typename F>
void for_each_pair(const PsaShape& s, int64_t y, int64_t row, const F& f) {
  if (!s.collect) {
    for (int64_t x = 0; x < s.width; ++x) {
      const Range columns = seen(x, s.mask_width, s.width);
      for (int64_t column = columns.begin; column < columns.end; ++column)
        f(s.source(y, x, row, column), s.target(y, x, row, column));
    }
    return;
  }
  for (int64_t column = 0; column < s.width; ++column) {
    const int64_t last = column + (s.mask_width - 1) / 2;
    for (int64_t x = std::max<int64_t>(last - s.mask_width + 1, 0); x < std::min(last + 1, s.width); ++x)
      f(s.source(y, x, row, column), s.target(y, x, row, column));
  }
}

// Calls f(image, offset in the masks, offset in the attention) for all pairs, in parallel.
template <typename F>
void for_each_pair(const PsaShape& s, const F& f) {
  torch::stable::parallel_for(0, s.images * s.height, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / s.height, y = i % s.height;
      const Range rows = seen(y, s.mask_height, s.height);
      for (int64_t row = rows.begin; row < rows.end; ++row)
        for_each_pair(s, y, row, [&](int64_t source, int64_t target) {
          f(image * s.taps() * s.area() + source, image * s.area() * s.area() + target);
        });
    }
  });
}

Tensor psa_mask_cpu(const Tensor& x_in, bool collect, int64_t mask_height, int64_t mask_width) {
  const Tensor x = contiguous(x_in);
  const PsaShape s{x.size(0), x.size(2), x.size(3), mask_height, mask_width, collect};
  Tensor out = torch::stable::new_zeros(x, {s.images, s.area(), s.height, s.width});
  dispatch_floating(x.scalar_type(), "psa_mask", [&](auto tag) {
    using S = typename decltype(tag)::type;
    const S* from = data<S>(x);
    S* to = mutable_data<S>(out);
    for_each_pair(s, [=](int64_t source, int64_t target) { to[target] = from[source]; });
  });
  return out;
}

Tensor psa_mask_backward_cpu(const Tensor& grad_in, bool collect, int64_t mask_height, int64_t mask_width) {
  const Tensor grad = contiguous(grad_in);
  const PsaShape s{grad.size(0), grad.size(2), grad.size(3), mask_height, mask_width, collect};
  Tensor out = torch::stable::new_zeros(grad, {s.images, s.taps(), s.height, s.width});
  dispatch_floating(grad.scalar_type(), "psa_mask_backward", [&](auto tag) {
    using S = typename decltype(tag)::type;
    const S* from = data<S>(grad);
    S* to = mutable_data<S>(out);
    for_each_pair(s, [=](int64_t source, int64_t target) { to[source] = from[target]; });
  });
  return out;
}

}  // namespace

OPS_REGISTER(m) {
  m.def("psa_mask(Tensor x, bool collect, SymInt mask_height, SymInt mask_width) -> Tensor");
  m.def("psa_mask_backward(Tensor grad, bool collect, SymInt mask_height, SymInt mask_width) -> Tensor");
}

OPS_IMPLEMENT(CPU, m) {
  m.impl("psa_mask", TORCH_BOX(&psa_mask_cpu));
  m.impl("psa_mask_backward", TORCH_BOX(&psa_mask_backward_cpu));
}

}  // namespace ops
