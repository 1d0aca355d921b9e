// Point sets and quadrilaterals: smallest rectangles, points inside, generalized IoU with its gradient.
#include "common/polygon.h"
#include "cuda/launch.h"

namespace ops {
namespace {

template <typename T, typename S>
__global__ void rectangle_kernel(const S* points, int64_t count, S* corners) {
  for_each_index(count, [&](int64_t i) { min_area_rectangle<T>(points + 2 * kPointSet * i, corners + 8 * i); });
}

template <typename T, typename S>
__global__ void inside_kernel(const S* points, const S* polygons, int64_t count, int64_t columns, S* inside) {
  for_each_index(count, [&](int64_t i) {
    inside[i] =
        static_cast<S>(inside_quadrilateral<T>(points + 2 * (i / columns), polygons + 8 * (i % columns)) ? 1.f : 0.f);
  });
}

template <typename T, typename S>
__global__ void giou_kernel(const S* points, const S* polygons, int64_t count, S* giou, S* grad) {
  for_each_index(count, [&](int64_t i) {
    convex_giou_row<T>(points + 2 * kPointSet * i, polygons + 8 * i, giou + i, grad + 2 * kPointSet * i);
  });
}

Tensor min_area_polygons_cuda(const Tensor& pointsets_in) {
  const Tensor pointsets = contiguous(pointsets_in);
  const int64_t n = pointsets.size(0);
  Tensor out = torch::stable::new_empty(pointsets, {n, 8});
  const Launcher launch(pointsets);
  dispatch_floating(pointsets.scalar_type(), "min_area_polygons", [&](auto tag) {
    using S = typename decltype(tag)::type;
    launch.elementwise(n, rectangle_kernel<Accumulate<S>, S>, data<S>(pointsets), n, mutable_data<S>(out));
  });
  return out;
}

Tensor points_in_polygons_cuda(const Tensor& points_in, const Tensor& polygons_in) {
  const Tensor points = contiguous(points_in), polygons = contiguous(polygons_in);
  const int64_t n = points.size(0), m = polygons.size(0);
  Tensor out = torch::stable::new_empty(points, {n, m});
  const Launcher launch(points);
  dispatch_floating(points.scalar_type(), "points_in_polygons", [&](auto tag) {
    using S = typename decltype(tag)::type;
    launch.elementwise(n * m, inside_kernel<Accumulate<S>, S>, data<S>(points), data<S>(polygons), n * m, m,
                       mutable_data<S>(out));
  });
  return out;
}

std::tuple<Tensor, Tensor> convex_giou_cuda(const Tensor& pointsets_in, const Tensor& polygons_in) {
  const Tensor pointsets = contiguous(pointsets_in), polygons = contiguous(polygons_in);
  const int64_t n = pointsets.size(0);
  Tensor giou = torch::stable::new_empty(pointsets, {n});
  Tensor grad = torch::stable::new_empty(pointsets, {n, 2 * kPointSet});
  const Launcher launch(pointsets);
  dispatch_floating(pointsets.scalar_type(), "convex_giou", [&](auto tag) {
    using S = typename decltype(tag)::type;
    launch.elementwise(n, giou_kernel<Accumulate<S>, S>, data<S>(pointsets), data<S>(polygons), n,
                       mutable_data<S>(giou), mutable_data<S>(grad));
  });
  return {giou, grad};
}

}  // namespace

OPS_IMPLEMENT(CUDA, m) {
  m.impl("min_area_polygons", TORCH_BOX(&min_area_polygons_cuda));
  m.impl("points_in_polygons", TORCH_BOX(&points_in_polygons_cuda));
  m.impl("convex_giou", TORCH_BOX(&convex_giou_cuda));
}

}  // namespace ops
