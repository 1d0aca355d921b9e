// RoIAlign of rotated regions, forward and backward.
//
// As in RoIAlign, one task computes eight channels of one image for all its regions and owns its part of the gradient.
// Samples of a turned grid are no product of rows and columns, so each is interpolated on its own; where they lie is
// worked out once for all channels, unless a region has so many that they are better worked out again.
#include <vector>

#include "common/rotated_roi.h"
#include "cpu/bilinear.h"

namespace ops {
namespace {

// The samples of a region that lie on the map.
template <typename T>
struct RegionPoints {
  std::vector<MapPoint<T>> points;
  std::vector<int64_t> ends;  // of each bin
  T samples;                  // by which the points of a bin are averaged
};

template <typename T>
OPS_INLINE void average_body(const Block<const T>& map, const RegionPoints<T>& region, T* bins) {
  T buffer[kLanes];
  const MapPoint<T>* point = region.points.data();
  for (int64_t end : region.ends) {
    Lanes<T> sum = {}, value;
    for (; point != region.points.data() + end; ++point) {
      interpolate(map, point->y, point->x, buffer);
      load(value, buffer);
      sum += value;
    }
    sum /= region.samples;
    store(bins, sum);
    bins += kLanes;
  }
}

OPS_VECTORIZED void average(const Block<const float>& map, const RegionPoints<float>& region, float* bins) {
  average_body(map, region, bins);
}

OPS_VECTORIZED void average(const Block<const double>& map, const RegionPoints<double>& region, double* bins) {
  average_body(map, region, bins);
}

// The transpose of average_body: `bins` hold gradients, `map` receives them.
template <typename T>
OPS_INLINE void spread_body(const Block<T>& map, const RegionPoints<T>& region, const T* bins) {
  T buffer[kLanes];
  const MapPoint<T>* point = region.points.data();
  for (int64_t end : region.ends) {
    Lanes<T> share;
    load(share, bins);
    share /= region.samples;
    store(buffer, share);
    for (; point != region.points.data() + end; ++point) scatter_lanes(map, point->y, point->x, buffer);
    bins += kLanes;
  }
}

OPS_VECTORIZED void spread(const Block<float>& map, const RegionPoints<float>& region, const float* bins) {
  spread_body(map, region, bins);
}

OPS_VECTORIZED void spread(const Block<double>& map, const RegionPoints<double>& region, const double* bins) {
  spread_body(map, region, bins);
}

template <typename T>
RegionPoints<T> region_points(const RotatedRegion<T>& region, const MapShape& shape, const RotatedSettings& s) {
  RegionPoints<T> out;
  out.samples = region.samples();
  const int height = static_cast<int>(shape.height), width = static_cast<int>(shape.width);
  for (int bin = 0; bin < s.bins(); ++bin) {
    for_each_rotated_sample(region, bin / s.bins_x, bin % s.bins_x, height, width,
                            [&](const auto& y, const auto& x) { out.points.push_back({y, x}); });
    out.ends.push_back(out.points.size());
  }
  return out;
}

// The points of all regions, as long as memory allows to hold them.
template <typename T>
class PointsOfRegions {
 public:
  PointsOfRegions(const Tensor& rois, const MapShape& shape, const RotatedSettings& s)
      : table_(data<T>(rois)), shape_(shape), settings_(s), held_(rois.size(0)) {
    const T most = T(kHeldPoints) / T(held_.size() + 1);
    torch::stable::parallel_for(0, held_.size(), 64, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const auto region = rotated_region(table_ + 6 * i, s);
        if (region.samples() * T(s.bins()) <= most) held_[i] = region_points(region, shape, s);
      }
    });
  }

  // `scratch` receives them where they are not held.
  const RegionPoints<T>& of(int64_t roi, RegionPoints<T>& scratch) const {
    if (!held_[roi].ends.empty()) return held_[roi];
    return scratch = region_points(rotated_region(table_ + 6 * roi, settings_), shape_, settings_);
  }

 private:
  static constexpr int64_t kHeldPoints = 1 << 22;

  const T* table_;
  const MapShape& shape_;
  const RotatedSettings& settings_;
  std::vector<RegionPoints<T>> held_;
};

template <typename S>
void forward(const Tensor& x, const Tensor& rois, const RotatedSettings& s, Tensor& out) {
  using T = Accumulate<S>;
  const MapShape shape(x);
  const auto lists = rois_by_image<T>(rois, shape.images, "roi_align_rotated");
  const PointsOfRegions<T> regions(rois, shape, s);
  S* result = mutable_data<S>(out);
  for_each_block<T>(shape, [&](int64_t image, int64_t channel, std::vector<T>& scratch) {
    if (lists[image].empty()) return;
    const auto map = read_block<T, S>(x, image, channel, scratch);
    std::vector<T> bins(s.bins() * kLanes);
    RegionPoints<T> points;
    for (int64_t roi : lists[image]) {
      average(map, regions.of(roi, points), bins.data());
      write_planes(bins.data(), s.bins(), std::min(kLanes, shape.channels - channel),
                   result + (roi * shape.channels + channel) * s.bins());
    }
  });
}

template <typename S>
void backward(const Tensor& grad, const Tensor& rois, const MapShape& shape, const RotatedSettings& s, Tensor& out) {
  using T = Accumulate<S>;
  const auto lists = rois_by_image<T>(rois, shape.images, "roi_align_rotated");
  const PointsOfRegions<T> regions(rois, shape, s);
  const S* upstream = data<S>(grad);
  S* result = mutable_data<S>(out);
  for_each_block<T>(shape, [&](int64_t image, int64_t channel, std::vector<T>& scratch) {
    const int64_t lanes = std::min(kLanes, shape.channels - channel), area = shape.height * shape.width;
    std::fill(scratch.begin(), scratch.end(), T(0));
    const Block<T> map{scratch.data(), shape.width * kLanes, kLanes};
    std::vector<T> bins(s.bins() * kLanes);
    RegionPoints<T> points;
    for (int64_t roi : lists[image]) {
      read_planes(upstream + (roi * shape.channels + channel) * s.bins(), s.bins(), lanes, bins.data());
      spread(map, regions.of(roi, points), bins.data());
    }
    write_planes(scratch.data(), area, lanes, result + (image * shape.channels + channel) * area);
  });
}

RotatedSettings settings_of(int64_t bins_y, int64_t bins_x, double scale, int64_t ratio, bool aligned, bool clockwise) {
  return {static_cast<int>(bins_y), static_cast<int>(bins_x), scale, static_cast<int>(ratio), aligned, clockwise};
}

Tensor roi_align_rotated_cpu(const Tensor& x, const Tensor& rois_in, int64_t bins_y, int64_t bins_x, double scale,
                             int64_t sampling_ratio, bool aligned, bool clockwise) {
  const Tensor rois = contiguous(rois_in);
  const auto s = settings_of(bins_y, bins_x, scale, sampling_ratio, aligned, clockwise);
  Tensor out = torch::stable::new_empty(x, {rois.size(0), x.size(1), bins_y, bins_x});
  dispatch_floating(x.scalar_type(), "roi_align_rotated",
                    [&](auto tag) { forward<typename decltype(tag)::type>(x, rois, s, out); });
  return out;
}

// Deterministic either way.
Tensor roi_align_rotated_backward_cpu(const Tensor& grad_in, const Tensor& rois_in, int64_t images, int64_t height,
                                      int64_t width, double scale, int64_t sampling_ratio, bool aligned, bool clockwise,
                                      bool /*deterministic*/) {
  const Tensor grad = contiguous(grad_in), rois = contiguous(rois_in);
  const auto s = settings_of(grad.size(2), grad.size(3), scale, sampling_ratio, aligned, clockwise);
  const MapShape shape(images, grad.size(1), height, width);
  Tensor out = torch::stable::new_empty(grad, {images, grad.size(1), height, width});
  dispatch_floating(grad.scalar_type(), "roi_align_rotated_backward",
                    [&](auto tag) { backward<typename decltype(tag)::type>(grad, rois, shape, s, out); });
  return out;
}

}  // namespace

OPS_REGISTER(m) {
  m.def(
      "roi_align_rotated(Tensor x, Tensor rois, SymInt bins_y, SymInt bins_x, float scale, int sampling_ratio, "
      "bool aligned, bool clockwise) -> Tensor");
  m.def(
      "roi_align_rotated_backward(Tensor grad, Tensor rois, SymInt images, SymInt height, SymInt width, float scale, "
      "int sampling_ratio, bool aligned, bool clockwise, bool deterministic) -> Tensor");
}

OPS_IMPLEMENT(CPU, m) {
  m.impl("roi_align_rotated", TORCH_BOX(&roi_align_rotated_cpu));
  m.impl("roi_align_rotated_backward", TORCH_BOX(&roi_align_rotated_backward_cpu));
}

}  // namespace ops
