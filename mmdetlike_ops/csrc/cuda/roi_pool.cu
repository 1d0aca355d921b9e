// RoIPool, forward and backward: one thread an output.
#include "common/roi.h"
#include "cuda/scatter.h"

namespace ops {
namespace {

template <typename T, typename S>
__global__ void forward_kernel(FeatureMap<const S> map, const T* rois, OutputShape shape, int64_t count, T scale,
                               bool channels_last, S* out, int32_t* argmax) {
  for_each_index(count, [&](int64_t i) {
    const auto o = output_index(i, shape, channels_last);
    const T* roi = rois + 5 * o.roi;
    const int64_t image = image_of(roi, map.images);
    const auto ys = pixel_range(roi[2], roi[4], scale, shape.bins_y, o.y, map.height);
    const auto xs = pixel_range(roi[1], roi[3], scale, shape.bins_x, o.x, map.width);
    T best = 0;
    int32_t winner = -1;
    for (int y = ys.begin; image >= 0 && y < ys.end; ++y)
      for (int x = xs.begin; x < xs.end; ++x) {
        const T value = static_cast<T>(map.at(image, o.channel, y, x));
        if (winner < 0 || value > best) best = value, winner = y * map.width + x;
      }
    out[o.flat] = static_cast<S>(best);
    argmax[o.flat] = winner;
  });
}

template <typename S>
struct Backward {
  using Sum = Accumulate<S>;

  const S* grad;
  const Sum* rois;
  const int32_t* argmax;
  OutputShape shape;
  FeatureMap<Sum> map;

  __device__ int64_t image(int64_t roi) const { return image_of(rois + 5 * roi, map.images); }

  template <typename Add>
  __device__ void scatter(const OutputIndex& o, const Add& add) const {
    const int32_t winner = argmax[o.flat];
    if (winner >= 0) add(winner / map.width, winner % map.width, static_cast<Sum>(grad[o.flat]));
  }
};

std::tuple<Tensor, Tensor> roi_pool_cuda(const Tensor& x, const Tensor& rois_in, int64_t bins_y, int64_t bins_x,
                                         double scale) {
  const Tensor rois = contiguous(rois_in);
  const OutputShape shape{rois.size(0), x.size(1), static_cast<int>(bins_y), static_cast<int>(bins_x)};
  Tensor out = torch::stable::new_empty(x, {shape.rois, shape.channels, bins_y, bins_x});
  Tensor argmax = torch::stable::new_empty(x, {shape.rois, shape.channels, bins_y, bins_x}, ScalarType::Int);
  const Launcher launch(x);
  dispatch_floating(x.scalar_type(), "roi_pool", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    launch.elementwise(shape.numel(), forward_kernel<T, S>, read_map<S>(x), data<T>(rois), shape, shape.numel(),
                       T(scale), x.stride(1) == 1, mutable_data<S>(out), mutable_data<int32_t>(argmax));
  });
  return {out, argmax};
}

Tensor roi_pool_backward_cuda(const Tensor& grad_in, const Tensor& rois_in, const Tensor& argmax, int64_t images,
                              int64_t height, int64_t width, bool deterministic) {
  const Tensor grad = contiguous(grad_in), rois = contiguous(rois_in);
  const OutputShape shape{grad.size(0), grad.size(1), static_cast<int>(grad.size(2)), static_cast<int>(grad.size(3))};
  const Launcher launch(grad);
  Tensor out = grad;
  dispatch_floating(grad.scalar_type(), "roi_pool_backward", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    Tensor sums = torch::stable::new_zeros(grad, {images, shape.channels, height, width}, accumulate_dtype<T>());
    scatter(launch, Backward<S>{data<S>(grad), data<T>(rois), data<int32_t>(argmax), shape, write_map<T>(sums)},
            deterministic);
    out = cast<S>(launch, sums, grad);
  });
  return out;
}

}  // namespace

OPS_IMPLEMENT(CUDA, m) {
  m.impl("roi_pool", TORCH_BOX(&roi_pool_cuda));
  m.impl("roi_pool_backward", TORCH_BOX(&roi_pool_backward_cuda));
}

}  // namespace ops
