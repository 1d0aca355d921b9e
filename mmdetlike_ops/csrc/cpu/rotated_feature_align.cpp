// Features plus those sampled at the box of each position, eight channels of one image at a time.
#include <vector>

#include "common/feature_align.h"
#include "cpu/bilinear.h"

namespace ops {
namespace {

// The samples of every position of one image.
template <typename T>
struct ImagePoints {
  std::vector<MapPoint<T>> points;
  std::vector<int64_t> ends;  // of each position
};

template <typename T>
std::vector<ImagePoints<T>> points_of_images(const Tensor& boxes, const MapShape& shape, double scale, int64_t points) {
  std::vector<ImagePoints<T>> images(shape.images);
  const T* table = data<T>(boxes);
  const int64_t area = shape.height * shape.width;
  const int height = static_cast<int>(shape.height), width = static_cast<int>(shape.width);
  torch::stable::parallel_for(0, shape.images, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * area; i < end * area; ++i) {
      auto& image = images[i / area];
      for_each_box_sample(table + 5 * i, T(scale), static_cast<int>(points), height, width,
                          [&](const auto& y, const auto& x) { image.points.push_back({y, x}); });
      image.ends.push_back(image.points.size());
    }
  });
  return images;
}

template <typename T>
OPS_INLINE void gather_body(const Block<const T>& map, const ImagePoints<T>& image, T* out) {
  T buffer[kLanes];
  const MapPoint<T>* point = image.points.data();
  const T* own = map.data;
  for (int64_t end : image.ends) {
    Lanes<T> sum, value;
    load(sum, own);
    for (; point != image.points.data() + end; ++point) {
      interpolate(map, point->y, point->x, buffer);
      load(value, buffer);
      sum += value;
    }
    store(out, sum);
    own += kLanes, out += kLanes;
  }
}

OPS_VECTORIZED void gather(const Block<const float>& map, const ImagePoints<float>& image, float* out) {
  gather_body(map, image, out);
}

OPS_VECTORIZED void gather(const Block<const double>& map, const ImagePoints<double>& image, double* out) {
  gather_body(map, image, out);
}

template <typename T>
OPS_INLINE void scatter_body(const Block<T>& map, const ImagePoints<T>& image, const T* grad) {
  const MapPoint<T>* point = image.points.data();
  for (int64_t end : image.ends) {
    for (; point != image.points.data() + end; ++point) scatter_lanes(map, point->y, point->x, grad);
    grad += kLanes;
  }
}

OPS_VECTORIZED void scatter(const Block<float>& map, const ImagePoints<float>& image, const float* grad) {
  scatter_body(map, image, grad);
}

OPS_VECTORIZED void scatter(const Block<double>& map, const ImagePoints<double>& image, const double* grad) {
  scatter_body(map, image, grad);
}

// The features, or, with `backward`, the gradient of them where `x` is the gradient of the output.
template <typename S>
void align(const Tensor& x, const Tensor& boxes, double scale, int64_t points, bool backward, Tensor& out) {
  using T = Accumulate<S>;
  const MapShape shape(x);
  const auto images = points_of_images<T>(boxes, shape, scale, points);
  const int64_t area = shape.height * shape.width;
  S* result = mutable_data<S>(out);
  for_each_block<T>(shape, [&](int64_t image, int64_t channel, std::vector<T>& scratch) {
    const auto map = read_block<T, S>(x, image, channel, scratch);
    std::vector<T> pixels(scratch);
    if (backward)
      scatter(Block<T>{pixels.data(), map.row, map.column}, images[image], map.data);
    else
      gather(map, images[image], pixels.data());
    write_planes(pixels.data(), area, std::min(kLanes, shape.channels - channel),
                 result + (image * shape.channels + channel) * area);
  });
}

Tensor run(const Tensor& x, const Tensor& boxes_in, double scale, int64_t points, bool backward) {
  const Tensor boxes = contiguous(boxes_in);
  Tensor out = torch::stable::new_empty(x, x.sizes());
  dispatch_floating(x.scalar_type(), "rotated_feature_align",
                    [&](auto tag) { align<typename decltype(tag)::type>(x, boxes, scale, points, backward, out); });
  return out;
}

Tensor rotated_feature_align_cpu(const Tensor& x, const Tensor& boxes, double scale, int64_t points) {
  return run(x, boxes, scale, points, false);
}

// Deterministic either way.
Tensor rotated_feature_align_backward_cpu(const Tensor& grad, const Tensor& boxes, double scale, int64_t points,
                                          bool /*deterministic*/) {
  return run(grad, boxes, scale, points, true);
}

}  // namespace

OPS_REGISTER(m) {
  m.def("rotated_feature_align(Tensor x, Tensor boxes, float scale, int points) -> Tensor");
  m.def(
      "rotated_feature_align_backward(Tensor grad, Tensor boxes, float scale, int points, bool deterministic) -> "
      "Tensor");
}

OPS_IMPLEMENT(CPU, m) {
  m.impl("rotated_feature_align", TORCH_BOX(&rotated_feature_align_cpu));
  m.impl("rotated_feature_align_backward", TORCH_BOX(&rotated_feature_align_backward_cpu));
}

}  // namespace ops
