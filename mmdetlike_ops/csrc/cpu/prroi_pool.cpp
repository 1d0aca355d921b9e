// Precise RoI pooling: the mean of the bilinear surface over each bin, without samples.
//
// The derivative of a bin by a corner of the region is the same pooling with the derivatives of its weights.
#include <array>

#include "common/prroi.h"
#include "cpu/separable_pool.h"

namespace ops {
namespace {

struct Grid {
  int bins_y, bins_x;
  double scale;

  int64_t bins() const { return static_cast<int64_t>(bins_y) * bins_x; }
};

template <typename T>
std::vector<Tap<T>> axis_taps(T from, T to, T scale, int bins, int64_t length, By by) {
  std::vector<Tap<T>> taps;
  for (int bin = 0; bin < bins; ++bin) {
    const auto span = bin_span(from, to, scale, bins, bin);
    const auto pixels = span.pixels(static_cast<int>(length));
    for (int pixel = pixels.begin; pixel < pixels.end; ++pixel)
      taps.push_back({pixel, bin, span_weight(span, pixel, bin, bins, by)});
  }
  return taps;
}

template <typename T>
Pooling<T> precise_pooling(const Tensor& rois, const MapShape& shape, const Grid& g, By by_y, By by_x) {
  const T* table = data<T>(rois);
  return make_pooling<T>(rois.size(0), 1, g.bins(), g.bins_x, [&](int64_t i, int64_t) {
    const T* roi = table + 5 * i;
    return make_region(axis_taps(roi[2], roi[4], T(g.scale), g.bins_y, shape.height, by_y),
                       axis_taps(roi[1], roi[3], T(g.scale), g.bins_x, shape.width, by_x));
  });
}

template <typename S>
void rois_gradient(const Tensor& x, const Tensor& grad, const std::vector<std::vector<int64_t>>& lists,
                   const Tensor& rois, const Grid& g, Tensor& out) {
  using T = Accumulate<S>;
  const MapShape shape(x);
  std::vector<Pooling<T>> poolings;
  for (By by : {By::kFirst, By::kSecond}) {
    poolings.push_back(precise_pooling<T>(rois, shape, g, By::kNothing, by));
    poolings.push_back(precise_pooling<T>(rois, shape, g, by, By::kNothing));
  }
  const auto dots = pooled_dot<S>(x, grad, lists, poolings);
  T* result = mutable_data<T>(out);
  for (int64_t i = 0; i < rois.size(0); ++i) {
    result[5 * i] = T(0);
    for (int k = 0; k < 4; ++k) {
      T sum = 0;
      for (int64_t bin = 0; bin < g.bins(); ++bin) sum += dots[k][i * g.bins() + bin];
      result[5 * i + 1 + k] = sum * T(g.scale);
    }
  }
}

Tensor prroi_pool_cpu(const Tensor& x, const Tensor& rois_in, int64_t bins_y, int64_t bins_x, double scale) {
  const Tensor rois = contiguous(rois_in);
  Tensor out = torch::stable::new_empty(x, {rois.size(0), x.size(1), bins_y, bins_x});
  dispatch_floating(x.scalar_type(), "prroi_pool", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    const Grid g{static_cast<int>(bins_y), static_cast<int>(bins_x), scale};
    const auto lists = rois_by_image<T>(rois, x.size(0), "prroi_pool");
    pool_regions<S>(x, lists, precise_pooling<T>(rois, MapShape(x), g, By::kNothing, By::kNothing), out);
  });
  return out;
}

std::tuple<Tensor, Tensor> prroi_pool_backward_cpu(const Tensor& grad_in, const Tensor& x, const Tensor& rois_in,
                                                   double scale, bool with_rois, bool /*deterministic: it always is*/) {
  const Tensor grad = contiguous(grad_in), rois = contiguous(rois_in);
  const Grid g{static_cast<int>(grad.size(2)), static_cast<int>(grad.size(3)), scale};
  Tensor grad_x = torch::stable::new_empty(grad, {x.size(0), x.size(1), x.size(2), x.size(3)});
  Tensor grad_rois = torch::stable::new_empty(rois, {with_rois ? rois.size(0) : 0, 5});
  dispatch_floating(x.scalar_type(), "prroi_pool_backward", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    const MapShape shape(x);
    const auto lists = rois_by_image<T>(rois, x.size(0), "prroi_pool");
    unpool_regions<S>(grad, lists, precise_pooling<T>(rois, shape, g, By::kNothing, By::kNothing), shape, grad_x);
    if (with_rois) rois_gradient<S>(x, grad, lists, rois, g, grad_rois);
  });
  return {grad_x, grad_rois};
}

}  // namespace

OPS_REGISTER(m) {
  m.def("prroi_pool(Tensor x, Tensor rois, SymInt bins_y, SymInt bins_x, float scale) -> Tensor");
  m.def(
      "prroi_pool_backward(Tensor grad, Tensor x, Tensor rois, float scale, bool with_rois, bool deterministic) -> "
      "(Tensor, Tensor)");
}

OPS_IMPLEMENT(CPU, m) {
  m.impl("prroi_pool", TORCH_BOX(&prroi_pool_cpu));
  m.impl("prroi_pool_backward", TORCH_BOX(&prroi_pool_backward_cpu));
}

}  // namespace ops
