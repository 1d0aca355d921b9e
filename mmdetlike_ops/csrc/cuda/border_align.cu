// BorderAlign: one thread an output.
#include "common/border.h"
#include "cuda/bilinear.h"
#include "cuda/scatter.h"

namespace ops {
namespace {

template <typename T, typename S>
__global__ void forward_kernel(FeatureMap<const S> map, const T* boxes, int64_t count, int64_t box_count, int pool_size,
                               S* out, int32_t* argmax) {
  for_each_index(count, [&](int64_t i) {  // in (images, c, boxes, 4)
    const int border = static_cast<int>(i % 4);
    const int64_t channels = map.channels / 4, channel = i / 4 / box_count % channels;
    const int64_t image = i / 4 / box_count / channels;
    const T* box = boxes + (image * box_count + i / 4 % box_count) * 4;
    T best = 0;
    int32_t winner = -1;
    for (int k = 0; k <= pool_size; ++k) {
      const auto sample = border_sample(box, border, k, pool_size, map.height, map.width);
      const T value = interpolate(map, image, border * channels + channel, sample.y, sample.x);
      if (winner < 0 || value > best) best = value, winner = k;
    }
    out[i] = static_cast<S>(best);
    argmax[i] = winner;
  });
}

// A region of `scatter` is a border of a box: (images, 4, boxes); the map is (4 images, c, h, w).
template <typename S>
struct Backward {
  using Sum = Accumulate<S>;

  const S* grad;
  const Sum* boxes;
  const int32_t* argmax;
  int64_t box_count;
  int pool_size;
  OutputShape shape;
  FeatureMap<Sum> map;

  __device__ int64_t image(int64_t roi) const { return roi / box_count; }

  template <typename Add>
  __device__ void scatter(const OutputIndex& o, const Add& add) const {
    const int64_t image = o.roi / box_count / 4, border = o.roi / box_count % 4, box = o.roi % box_count;
    const int64_t at = ((image * shape.channels + o.channel) * box_count + box) * 4 + border;
    const auto sample = border_sample(boxes + (image * box_count + box) * 4, static_cast<int>(border), argmax[at],
                                      pool_size, map.height, map.width);
    add_sample(add, sample.y, sample.x, static_cast<Sum>(grad[at]));
  }
};

std::tuple<Tensor, Tensor> border_align_cuda(const Tensor& x, const Tensor& boxes_in, int64_t pool_size) {
  const Launcher launch(x);
  const Tensor boxes = contiguous(boxes_in);
  Tensor out = torch::stable::new_empty(x, {x.size(0), x.size(1) / 4, boxes.size(1), 4});
  Tensor argmax = torch::stable::new_empty(x, {x.size(0), x.size(1) / 4, boxes.size(1), 4}, ScalarType::Int);
  dispatch_floating(x.scalar_type(), "border_align", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    launch.elementwise(out.numel(), forward_kernel<T, S>, read_map<S>(x), data<T>(boxes), out.numel(), boxes.size(1),
                       static_cast<int>(pool_size), mutable_data<S>(out), mutable_data<int32_t>(argmax));
  });
  return {out, argmax};
}

Tensor border_align_backward_cuda(const Tensor& grad_in, const Tensor& boxes_in, const Tensor& argmax_in,
                                  int64_t height, int64_t width, int64_t pool_size, bool deterministic) {
  const Launcher launch(grad_in);
  const Tensor grad = contiguous(grad_in), boxes = contiguous(boxes_in), argmax = contiguous(argmax_in);
  const int64_t images = grad.size(0), channels = grad.size(1), box_count = grad.size(2);
  Tensor out = grad;
  dispatch_floating(grad.scalar_type(), "border_align_backward", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    Tensor sums = torch::stable::new_zeros(grad, {4 * images, channels, height, width}, accumulate_dtype<T>());
    scatter(launch,
            Backward<S>{data<S>(grad), data<T>(boxes), data<int32_t>(argmax), box_count, static_cast<int>(pool_size),
                        OutputShape{4 * images * box_count, channels, 1, 1}, write_map<T>(sums)},
            deterministic);
    out = torch::stable::view(cast<S>(launch, sums, grad), {images, 4 * channels, height, width});
  });
  return out;
}

}  // namespace

OPS_IMPLEMENT(CUDA, m) {
  m.impl("border_align", TORCH_BOX(&border_align_cuda));
  m.impl("border_align_backward", TORCH_BOX(&border_align_backward_cuda));
}

}  // namespace ops
