// Features plus those sampled at the box of each position, forward and backward: one thread an output.
#include "common/feature_align.h"
#include "cuda/bilinear.h"
#include "cuda/scatter.h"

namespace ops {
namespace {

// The output as regions: an image is a region whose bins are its pixels.
OutputShape output_shape(const Tensor& x) {
  return {x.size(0), x.size(1), static_cast<int>(x.size(2)), static_cast<int>(x.size(3))};
}

template <typename T>
__device__ __forceinline__ const T* box_at(const T* boxes, const OutputShape& shape, const OutputIndex& o) {
  return boxes + 5 * ((o.roi * shape.bins_y + o.y) * shape.bins_x + o.x);
}

template <typename T, typename S>
__global__ void forward_kernel(FeatureMap<const S> map, const T* boxes, OutputShape shape, T scale, int points,
                               bool channels_last, S* out) {
  for_each_index(shape.numel(), [&](int64_t i) {
    const auto o = output_index(i, shape, channels_last);
    T sum = static_cast<T>(map.at(o.roi, o.channel, o.y, o.x));
    for_each_box_sample(box_at(boxes, shape, o), scale, points, map.height, map.width,
                        [&](const auto& y, const auto& x) { sum += interpolate(map, o.roi, o.channel, y, x); });
    out[o.flat] = static_cast<S>(sum);
  });
}

template <typename S>
struct Backward {
  using Sum = Accumulate<S>;

  const S* grad;
  const Sum* boxes;
  OutputShape shape;
  Sum scale;
  int points;
  FeatureMap<Sum> map;

  __device__ int64_t image(int64_t region) const { return region; }

  template <typename Add>
  __device__ void scatter(const OutputIndex& o, const Add& add) const {
    const Sum upstream = static_cast<Sum>(grad[o.flat]);
    add(o.y, o.x, upstream);
    for_each_box_sample(box_at(boxes, shape, o), scale, points, map.height, map.width,
                        [&](const auto& y, const auto& x) { add_sample(add, y, x, upstream); });
  }
};

Tensor rotated_feature_align_cuda(const Tensor& x, const Tensor& boxes_in, double scale, int64_t points) {
  const Tensor boxes = contiguous(boxes_in);
  const OutputShape shape = output_shape(x);
  Tensor out = torch::stable::new_empty(x, x.sizes());
  const Launcher launch(x);
  dispatch_floating(x.scalar_type(), "rotated_feature_align", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    launch.elementwise(shape.numel(), forward_kernel<T, S>, read_map<S>(x), data<T>(boxes), shape, T(scale),
                       static_cast<int>(points), x.stride(1) == 1, mutable_data<S>(out));
  });
  return out;
}

Tensor rotated_feature_align_backward_cuda(const Tensor& grad_in, const Tensor& boxes_in, double scale, int64_t points,
                                           bool deterministic) {
  const Tensor grad = contiguous(grad_in), boxes = contiguous(boxes_in);
  const OutputShape shape = output_shape(grad);
  const Launcher launch(grad);
  Tensor out = grad;
  dispatch_floating(grad.scalar_type(), "rotated_feature_align_backward", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    Tensor sums = torch::stable::new_zeros(grad, grad.sizes(), accumulate_dtype<T>());
    const Backward<S> problem{data<S>(grad), data<T>(boxes),           shape,
                              T(scale),      static_cast<int>(points), write_map<T>(sums)};
    scatter(launch, problem, deterministic);
    out = cast<S>(launch, sums, grad);
  });
  return out;
}

}  // namespace

OPS_IMPLEMENT(CUDA, m) {
  m.impl("rotated_feature_align", TORCH_BOX(&rotated_feature_align_cuda));
  m.impl("rotated_feature_align_backward", TORCH_BOX(&rotated_feature_align_backward_cuda));
}

}  // namespace ops
