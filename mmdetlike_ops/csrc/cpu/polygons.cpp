// Point sets and quadrilaterals: smallest rectangles, points inside, generalized IoU with its gradient.
#include "common/op.h"
#include "common/polygon.h"

namespace ops {
namespace {

Tensor min_area_polygons_cpu(const Tensor& pointsets_in) {
  const Tensor pointsets = contiguous(pointsets_in);
  const int64_t n = pointsets.size(0);
  Tensor out = torch::stable::new_empty(pointsets, {n, 8});
  dispatch_floating(pointsets.scalar_type(), "min_area_polygons", [&](auto tag) {
    using S = typename decltype(tag)::type;
    const S* points = data<S>(pointsets);
    S* corners = mutable_data<S>(out);
    torch::stable::parallel_for(0, n, 64, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        min_area_rectangle<Accumulate<S>>(points + 2 * kPointSet * i, corners + 8 * i);
    });
  });
  return out;
}

Tensor points_in_polygons_cpu(const Tensor& points_in, const Tensor& polygons_in) {
  const Tensor points = contiguous(points_in), polygons = contiguous(polygons_in);
  const int64_t n = points.size(0), m = polygons.size(0);
  Tensor out = torch::stable::new_empty(points, {n, m});
  dispatch_floating(points.scalar_type(), "points_in_polygons", [&](auto tag) {
    using S = typename decltype(tag)::type;
    const S *table = data<S>(points), *corners = data<S>(polygons);
    S* inside = mutable_data<S>(out);
    torch::stable::parallel_for(0, n, 1 + 4096 / (m + 1), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        for (int64_t j = 0; j < m; ++j)
          inside[i * m + j] =
              static_cast<S>(inside_quadrilateral<Accumulate<S>>(table + 2 * i, corners + 8 * j) ? 1.f : 0.f);
    });
  });
  return out;
}

std::tuple<Tensor, Tensor> convex_giou_cpu(const Tensor& pointsets_in, const Tensor& polygons_in) {
  const Tensor pointsets = contiguous(pointsets_in), polygons = contiguous(polygons_in);
  const int64_t n = pointsets.size(0);
  Tensor giou = torch::stable::new_empty(pointsets, {n});
  Tensor grad = torch::stable::new_empty(pointsets, {n, 2 * kPointSet});
  dispatch_floating(pointsets.scalar_type(), "convex_giou", [&](auto tag) {
    using S = typename decltype(tag)::type;
    const S *points = data<S>(pointsets), *corners = data<S>(polygons);
    S *values = mutable_data<S>(giou), *gradients = mutable_data<S>(grad);
    torch::stable::parallel_for(0, n, 64, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        convex_giou_row<Accumulate<S>>(points + 2 * kPointSet * i, corners + 8 * i, values + i,
                                       gradients + 2 * kPointSet * i);
    });
  });
  return {giou, grad};
}

}  // namespace

OPS_REGISTER(m) {
  m.def("min_area_polygons(Tensor pointsets) -> Tensor");
  m.def("points_in_polygons(Tensor points, Tensor polygons) -> Tensor");
  m.def("convex_giou(Tensor pointsets, Tensor polygons) -> (Tensor, Tensor)");
}

OPS_IMPLEMENT(CPU, m) {
  m.impl("min_area_polygons", TORCH_BOX(&min_area_polygons_cpu));
  m.impl("points_in_polygons", TORCH_BOX(&points_in_polygons_cpu));
  m.impl("convex_giou", TORCH_BOX(&convex_giou_cpu));
}

}  // namespace ops
