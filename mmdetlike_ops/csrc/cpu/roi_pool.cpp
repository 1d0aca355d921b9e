// RoIPool: the largest feature of each bin of a region, eight channels of one image at a time.
#include <limits>

#include "common/roi.h"
#include "cpu/channel_block.h"

namespace ops {
namespace {

struct Bins {
  int64_t y, x;
  double scale;

  int64_t count() const { return y * x; }
};

// Largest pixel of each lane and its index y * width + x; 0 and -1 where the ranges are empty.
template <typename T>
OPS_INLINE void max_pixels_body(const Block<const T>& map, PixelRange ys, PixelRange xs, int32_t width, T* best,
                                int32_t* which) {
  LaneMax<T> running;
  for (int y = ys.begin; y < ys.end; ++y)
    for (int x = xs.begin; x < xs.end; ++x) running.see(map.data + y * map.row + x * map.column, y * width + x);
  running.finish(best, which);
}

OPS_VECTORIZED void max_pixels(const Block<const float>& map, PixelRange ys, PixelRange xs, int32_t width, float* best,
                               int32_t* which) {
  max_pixels_body(map, ys, xs, width, best, which);
}

OPS_VECTORIZED void max_pixels(const Block<const double>& map, PixelRange ys, PixelRange xs, int32_t width,
                               double* best, int32_t* which) {
  max_pixels_body(map, ys, xs, width, best, which);
}

template <typename T>
void pool_region(const Block<const T>& map, const T* roi, const MapShape& shape, const Bins& bins, T* best,
                 int32_t* which) {
  const int width = static_cast<int>(shape.width), height = static_cast<int>(shape.height);
  const int bins_y = static_cast<int>(bins.y), bins_x = static_cast<int>(bins.x);
  for (int y = 0; y < bins_y; ++y) {
    const auto ys = pixel_range(roi[2], roi[4], T(bins.scale), bins_y, y, height);
    for (int x = 0; x < bins_x; ++x) {
      const auto xs = pixel_range(roi[1], roi[3], T(bins.scale), bins_x, x, width);
      const int64_t at = (y * bins.x + x) * kLanes;
      max_pixels(map, ys, xs, width, best + at, which + at);
    }
  }
}

template <typename S>
void forward(const Tensor& x, const Tensor& rois, const Bins& bins, Tensor& out, Tensor& argmax) {
  using T = Accumulate<S>;
  const MapShape shape(x);
  const auto lists = rois_by_image<T>(rois, shape.images, "roi_pool");
  const T* table = data<T>(rois);
  S* result = mutable_data<S>(out);
  int32_t* winners = mutable_data<int32_t>(argmax);
  for_each_block<T>(shape, [&](int64_t image, int64_t channel, std::vector<T>& scratch) {
    if (lists[image].empty()) return;
    const auto map = read_block<T, S>(x, image, channel, scratch);
    const int64_t lanes = std::min(kLanes, shape.channels - channel);
    std::vector<T> best(bins.count() * kLanes);
    std::vector<int32_t> which(bins.count() * kLanes);
    for (int64_t roi : lists[image]) {
      pool_region(map, table + 5 * roi, shape, bins, best.data(), which.data());
      const int64_t at = (roi * shape.channels + channel) * bins.count();
      write_planes(best.data(), bins.count(), lanes, result + at);
      write_planes(which.data(), bins.count(), lanes, winners + at);
    }
  });
}

template <typename S>
void backward(const Tensor& grad, const Tensor& rois, const Tensor& argmax, const MapShape& shape, Tensor& out) {
  using T = Accumulate<S>;
  const auto lists = rois_by_image<T>(rois, shape.images, "roi_pool");
  const int64_t bins = grad.size(2) * grad.size(3), area = shape.height * shape.width;
  const S* upstream = data<S>(grad);
  const int32_t* winners = data<int32_t>(argmax);
  S* result = mutable_data<S>(out);
  for_each_block<T>(shape, [&](int64_t image, int64_t channel, std::vector<T>& scratch) {
    const int64_t lanes = std::min(kLanes, shape.channels - channel);
    std::fill(scratch.begin(), scratch.end(), T(0));
    for (int64_t roi : lists[image])
      for (int64_t c = 0; c < lanes; ++c)
        for (int64_t i = 0; i < bins; ++i) {
          const int64_t at = (roi * shape.channels + channel + c) * bins + i;
          if (winners[at] >= 0) scratch[winners[at] * kLanes + c] += static_cast<T>(upstream[at]);
        }
    write_planes(scratch.data(), area, lanes, result + (image * shape.channels + channel) * area);
  });
}

std::tuple<Tensor, Tensor> roi_pool_cpu(const Tensor& x, const Tensor& rois_in, int64_t bins_y, int64_t bins_x,
                                        double scale) {
  const Tensor rois = contiguous(rois_in);
  Tensor out = torch::stable::new_empty(x, {rois.size(0), x.size(1), bins_y, bins_x});
  Tensor argmax = torch::stable::new_empty(x, {rois.size(0), x.size(1), bins_y, bins_x}, ScalarType::Int);
  dispatch_floating(x.scalar_type(), "roi_pool", [&](auto tag) {
    forward<typename decltype(tag)::type>(x, rois, {bins_y, bins_x, scale}, out, argmax);
  });
  return {out, argmax};
}

Tensor roi_pool_backward_cpu(const Tensor& grad_in, const Tensor& rois_in, const Tensor& argmax, int64_t images,
                             int64_t height, int64_t width, bool /*deterministic: it always is*/) {
  const Tensor grad = contiguous(grad_in), rois = contiguous(rois_in);
  const MapShape shape(images, grad.size(1), height, width);
  Tensor out = torch::stable::new_empty(grad, {images, grad.size(1), height, width});
  dispatch_floating(grad.scalar_type(), "roi_pool_backward",
                    [&](auto tag) { backward<typename decltype(tag)::type>(grad, rois, argmax, shape, out); });
  return out;
}

}  // namespace

OPS_REGISTER(m) {
  m.def("roi_pool(Tensor x, Tensor rois, SymInt bins_y, SymInt bins_x, float scale) -> (Tensor, Tensor)");
  m.def(
      "roi_pool_backward(Tensor grad, Tensor rois, Tensor argmax, SymInt images, SymInt height, SymInt width, "
      "bool deterministic) -> Tensor");
}

OPS_IMPLEMENT(CPU, m) {
  m.impl("roi_pool", TORCH_BOX(&roi_pool_cpu));
  m.impl("roi_pool_backward", TORCH_BOX(&roi_pool_backward_cpu));
}

}  // namespace ops
