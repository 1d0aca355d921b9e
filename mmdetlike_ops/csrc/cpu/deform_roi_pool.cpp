// Deformable RoI pooling: RoIAlign by averages, of which every bin is moved by an offset of its own.
//
// The derivative of a bin by its offset is the same pooling with the derivatives of its weights.
#include "cpu/separable_pool.h"

namespace ops {
namespace {

template <typename T>
struct Problem {
  const T *rois, *offsets;  // offsets (rois, 2, bins): along x, along y
  int bins_y, bins_x;
  T scale, gamma;
  int sampling_ratio;
  int64_t count;
  int height, width;

  int64_t bins() const { return static_cast<int64_t>(bins_y) * bins_x; }

  RoiAxis<T> axis(int64_t roi, bool along_y) const {
    const T* box = rois + 5 * roi;
    return roi_axis<T>(box[along_y ? 2 : 1], box[along_y ? 4 : 3], scale, along_y ? bins_y : bins_x, sampling_ratio,
                       true);
  }

  std::vector<Tap<T>> taps(int64_t roi, int64_t bin, bool along_y, bool slope) const {
    const T offset = offsets[(2 * roi + (along_y ? 1 : 0)) * bins() + bin];
    const int bins_along = along_y ? bins_y : bins_x;
    std::vector<Tap<T>> taps;
    add_samples(taps, shifted_axis(axis(roi, along_y), bins_along, gamma, offset),
                static_cast<int>(along_y ? bin / bins_x : bin % bins_x), along_y ? height : width, slope, 0);
    return taps;
  }

  Pooling<T> pooling(bool slope_y, bool slope_x) const {
    return make_pooling<T>(count, bins(), 1, 1, [&](int64_t roi, int64_t bin) {
      return make_region(taps(roi, bin, true, slope_y), taps(roi, bin, false, slope_x));
    });
  }
};

template <typename T>
Problem<T> make_problem(const Tensor& rois, const Tensor& offset, int64_t height, int64_t width, double scale,
                        int64_t sampling_ratio, double gamma) {
  return {data<T>(rois),
          data<T>(offset),
          static_cast<int>(offset.size(2)),
          static_cast<int>(offset.size(3)),
          T(scale),
          T(gamma),
          static_cast<int>(sampling_ratio),
          rois.size(0),
          static_cast<int>(height),
          static_cast<int>(width)};
}

template <typename S>
void offset_gradient(const Tensor& x, const Tensor& grad, const std::vector<std::vector<int64_t>>& lists,
                     const Problem<Accumulate<S>>& problem, Tensor& out) {
  using T = Accumulate<S>;
  const auto dots = pooled_dot<S>(x, grad, lists, {problem.pooling(false, true), problem.pooling(true, false)});
  T* result = mutable_data<T>(out);
  for (int64_t roi = 0; roi < problem.count; ++roi)
    for (int along_y = 0; along_y < 2; ++along_y) {
      const auto axis = problem.axis(roi, along_y);
      const T unit = problem.gamma * (axis.bin_size * T(along_y ? problem.bins_y : problem.bins_x));
      for (int64_t bin = 0; bin < problem.bins(); ++bin)
        result[(2 * roi + along_y) * problem.bins() + bin] = unit * dots[along_y][roi * problem.bins() + bin];
    }
}

Tensor deform_roi_pool_cpu(const Tensor& x, const Tensor& rois_in, const Tensor& offset_in, double scale,
                           int64_t sampling_ratio, double gamma) {
  const Tensor rois = contiguous(rois_in), offset = contiguous(offset_in);
  Tensor out = torch::stable::new_empty(x, {rois.size(0), x.size(1), offset.size(2), offset.size(3)});
  dispatch_floating(x.scalar_type(), "deform_roi_pool", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    const auto lists = rois_by_image<T>(rois, x.size(0), "deform_roi_pool");
    const auto problem = make_problem<T>(rois, offset, x.size(2), x.size(3), scale, sampling_ratio, gamma);
    pool_regions<S>(x, lists, problem.pooling(false, false), out);
  });
  return out;
}

std::tuple<Tensor, Tensor> deform_roi_pool_backward_cpu(const Tensor& grad_in, const Tensor& x, const Tensor& rois_in,
                                                        const Tensor& offset_in, double scale, int64_t sampling_ratio,
                                                        double gamma, bool /*deterministic: it always is*/) {
  const Tensor grad = contiguous(grad_in), rois = contiguous(rois_in), offset = contiguous(offset_in);
  Tensor grad_x = torch::stable::new_empty(grad, {x.size(0), x.size(1), x.size(2), x.size(3)});
  Tensor grad_offset = torch::stable::new_empty(offset, {offset.size(0), 2, offset.size(2), offset.size(3)});
  dispatch_floating(x.scalar_type(), "deform_roi_pool_backward", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    const auto lists = rois_by_image<T>(rois, x.size(0), "deform_roi_pool");
    const auto problem = make_problem<T>(rois, offset, x.size(2), x.size(3), scale, sampling_ratio, gamma);
    unpool_regions<S>(grad, lists, problem.pooling(false, false), MapShape(x), grad_x);
    offset_gradient<S>(x, grad, lists, problem, grad_offset);
  });
  return {grad_x, grad_offset};
}

}  // namespace

OPS_REGISTER(m) {
  m.def(
      "deform_roi_pool(Tensor x, Tensor rois, Tensor offset, float scale, int sampling_ratio, float gamma) -> Tensor");
  m.def(
      "deform_roi_pool_backward(Tensor grad, Tensor x, Tensor rois, Tensor offset, float scale, int sampling_ratio, "
      "float gamma, bool deterministic) -> (Tensor, Tensor)");
}

OPS_IMPLEMENT(CPU, m) {
  m.impl("deform_roi_pool", TORCH_BOX(&deform_roi_pool_cpu));
  m.impl("deform_roi_pool_backward", TORCH_BOX(&deform_roi_pool_backward_cpu));
}

}  // namespace ops
