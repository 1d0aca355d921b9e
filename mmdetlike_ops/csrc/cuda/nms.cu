// Greedy non-maximum suppression of axis-aligned boxes.
#include "cuda/suppress.h"

namespace ops {
namespace {

template <typename T>
struct BoxRule {
  struct Shape {
    Box<T> box;
    T area;
  };

  T threshold, offset;

  template <typename S>
  __device__ Shape load(const S* boxes, int64_t i) const {
    const Box<T> box = load_box<T>(boxes + 4 * i);
    return {box, area(box, offset)};
  }

  __device__ bool suppresses(const Shape& kept, const Shape& other) const {
    return iou(kept.box, kept.area, other.box, other.area, offset) > threshold;
  }
};

// `max_num` only allows to stop early, which the scan does not need.
Tensor nms_cuda(const Tensor& boxes_in, const Tensor& scores_in, const Tensor& order_in,
                const std::optional<Tensor>& groups, double iou_threshold, double score_threshold, int64_t offset,
                int64_t /*max_num*/) {
  const Tensor boxes = contiguous(boxes_in), scores = contiguous(scores_in), order = contiguous(order_in);
  Tensor keep = torch::stable::new_empty(boxes, {boxes.size(0)}, ScalarType::Bool);
  dispatch_floating(boxes.scalar_type(), "nms", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    suppress<BoxRule<T>, S>(boxes, scores, order, groups, score_threshold, {T(iou_threshold), T(offset)}, keep);
  });
  return keep;
}

}  // namespace

OPS_IMPLEMENT(CUDA, m) { m.impl("nms", TORCH_BOX(&nms_cuda)); }

}  // namespace ops
