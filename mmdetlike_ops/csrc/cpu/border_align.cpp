// BorderAlign: the largest sample along each border of a box, eight channels of one border of an image at a time.
#include "common/border.h"
#include "cpu/bilinear.h"

namespace ops {
namespace {

// The features of a border: `maps` sees (images, 4 c, h, w) as (4 images, c, h, w).
struct Borders {
  MapShape maps;
  int64_t boxes;
  int pool_size;

  Borders(int64_t images, int64_t channels, int64_t height, int64_t width, int64_t boxes, int64_t pool_size)
      : maps(4 * images, channels, height, width), boxes(boxes), pool_size(static_cast<int>(pool_size)) {}

  // Offset of a box in (images, c, boxes, 4).
  int64_t at(int64_t map, int64_t channel, int64_t box) const {
    return ((map / 4 * maps.channels + channel) * boxes + box) * 4 + map % 4;
  }

  template <typename T>
  OPS_INLINE MapPoint<T> sample(const T* box, int64_t map, int i) const {
    return border_sample(box, static_cast<int>(map % 4), i, pool_size, static_cast<int>(maps.height),
                         static_cast<int>(maps.width));
  }
};

template <typename T>
OPS_INLINE void max_border_body(const Block<const T>& pixels, const T* box, int64_t map, const Borders& borders,
                                T* best, int32_t* which) {
  LaneMax<T> running;
  T value[kLanes];
  for (int i = 0; i <= borders.pool_size; ++i) {
    const auto sample = borders.sample(box, map, i);
    interpolate(pixels, sample.y, sample.x, value);
    running.see(value, i);
  }
  running.finish(best, which);
}

OPS_VECTORIZED void max_border(const Block<const float>& pixels, const float* box, int64_t map, const Borders& borders,
                               float* best, int32_t* which) {
  max_border_body(pixels, box, map, borders, best, which);
}

OPS_VECTORIZED void max_border(const Block<const double>& pixels, const double* box, int64_t map,
                               const Borders& borders, double* best, int32_t* which) {
  max_border_body(pixels, box, map, borders, best, which);
}

template <typename S>
void forward(const Tensor& x, const Tensor& boxes, const Borders& borders, Tensor& out, Tensor& argmax) {
  using T = Accumulate<S>;
  S* result = mutable_data<S>(out);
  int32_t* winners = mutable_data<int32_t>(argmax);
  for_each_block<T>(borders.maps, [&](int64_t map, int64_t channel, std::vector<T>& scratch) {
    const auto pixels = read_block<T, S>(x, map, channel, scratch);
    const int64_t lanes = std::min(kLanes, borders.maps.channels - channel);
    T best[kLanes];
    int32_t which[kLanes];
    for (int64_t box = 0; box < borders.boxes; ++box) {
      max_border(pixels, data<T>(boxes) + (map / 4 * borders.boxes + box) * 4, map, borders, best, which);
      for (int64_t c = 0; c < lanes; ++c) {
        const int64_t at = borders.at(map, channel + c, box);
        result[at] = static_cast<S>(best[c]), winners[at] = which[c];
      }
    }
  });
}

template <typename S>
void backward(const Tensor& grad, const Tensor& boxes, const Tensor& argmax, const Borders& borders, Tensor& out) {
  using T = Accumulate<S>;
  const MapShape& maps = borders.maps;
  for_each_block<T>(maps, [&](int64_t map, int64_t channel, std::vector<T>& scratch) {
    const int64_t lanes = std::min(kLanes, maps.channels - channel), area = maps.height * maps.width;
    std::fill(scratch.begin(), scratch.end(), T(0));
    const Block<T> pixels{scratch.data(), maps.width * kLanes, kLanes};
    for (int64_t box = 0; box < borders.boxes; ++box)
      for (int64_t c = 0; c < lanes; ++c) {
        const int64_t at = borders.at(map, channel + c, box);
        const auto sample =
            borders.sample(data<T>(boxes) + (map / 4 * borders.boxes + box) * 4, map, data<int32_t>(argmax)[at]);
        scatter_sample(pixels, sample.y, sample.x, c, static_cast<T>(data<S>(grad)[at]));
      }
    write_planes(scratch.data(), area, lanes, mutable_data<S>(out) + (map * maps.channels + channel) * area);
  });
}

std::tuple<Tensor, Tensor> border_align_cpu(const Tensor& x_in, const Tensor& boxes_in, int64_t pool_size) {
  const int64_t images = x_in.size(0), channels = x_in.size(1) / 4, height = x_in.size(2), width = x_in.size(3);
  const Tensor x = torch::stable::view(contiguous(x_in), {4 * images, channels, height, width});
  const Tensor boxes = contiguous(boxes_in);
  const Borders borders(images, channels, height, width, boxes.size(1), pool_size);
  Tensor out = torch::stable::new_empty(x, {images, channels, borders.boxes, 4});
  Tensor argmax = torch::stable::new_empty(x, {images, channels, borders.boxes, 4}, ScalarType::Int);
  dispatch_floating(x.scalar_type(), "border_align",
                    [&](auto tag) { forward<typename decltype(tag)::type>(x, boxes, borders, out, argmax); });
  return {out, argmax};
}

Tensor border_align_backward_cpu(const Tensor& grad_in, const Tensor& boxes_in, const Tensor& argmax_in, int64_t height,
                                 int64_t width, int64_t pool_size, bool /*deterministic: it always is*/) {
  const Tensor grad = contiguous(grad_in), boxes = contiguous(boxes_in), argmax = contiguous(argmax_in);
  const Borders borders(grad.size(0), grad.size(1), height, width, grad.size(2), pool_size);
  Tensor out = torch::stable::new_empty(grad, {grad.size(0), 4 * grad.size(1), height, width});
  dispatch_floating(grad.scalar_type(), "border_align_backward",
                    [&](auto tag) { backward<typename decltype(tag)::type>(grad, boxes, argmax, borders, out); });
  return out;
}

}  // namespace

OPS_REGISTER(m) {
  m.def("border_align(Tensor x, Tensor boxes, int pool_size) -> (Tensor, Tensor)");
  m.def(
      "border_align_backward(Tensor grad, Tensor boxes, Tensor argmax, SymInt height, SymInt width, int pool_size, "
      "bool deterministic) -> Tensor");
}

OPS_IMPLEMENT(CPU, m) {
  m.impl("border_align", TORCH_BOX(&border_align_cpu));
  m.impl("border_align_backward", TORCH_BOX(&border_align_backward_cpu));
}

}  // namespace ops
