// Greedy non-maximum suppression of rotated boxes and quadrilaterals.
#include "common/convex.h"
#include "cuda/suppress.h"

namespace ops {
namespace {

template <typename T>
struct ConvexRule {
  using Shape = Quad<T>;

  T threshold;
  int64_t columns;

  template <typename S>
  __device__ Shape load(const S* boxes, int64_t i) const {
    return load_quad<T>(boxes + columns * i, columns);
  }

  __device__ bool suppresses(const Shape& kept, const Shape& other) const {
    return overlap(kept, other, false) > threshold;
  }
};

Tensor nms_rotated_cuda(const Tensor& boxes_in, const Tensor& scores_in, const Tensor& order_in,
                        const std::optional<Tensor>& groups, double iou_threshold) {
  const Tensor boxes = contiguous(boxes_in), scores = contiguous(scores_in), order = contiguous(order_in);
  Tensor keep = torch::stable::new_empty(boxes, {boxes.size(0)}, ScalarType::Bool);
  dispatch_floating(boxes.scalar_type(), "nms_rotated", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    suppress<ConvexRule<T>, S>(boxes, scores, order, groups, 0, {T(iou_threshold), boxes.size(1)}, keep);
  });
  return keep;
}

}  // namespace

OPS_IMPLEMENT(CUDA, m) { m.impl("nms_rotated", TORCH_BOX(&nms_rotated_cuda)); }

}  // namespace ops
