// Greedy non-maximum suppression of rotated boxes and quadrilaterals.
//
// Candidates are visited by falling score. Their enclosing axis-aligned boxes are tested against those of the boxes
// kept so far, vectorized; only where these meet are the polygons clipped.
#include "common/convex.h"
#include "cpu/suppress.h"
#include "cpu/vectorize.h"

namespace ops {
namespace {

constexpr int64_t kRun = 16;

// Enclosing axis-aligned boxes as structure of arrays, padded so that a run may be read to its end.
template <typename T>
struct Enclosures {
  std::vector<T> x, y, half_x, half_y;

  explicit Enclosures(int64_t n) {
    for (auto* values : {&x, &y, &half_x, &half_y}) values->assign(n + kRun, T(0));
  }

  void put(int64_t i, const Quad<T>& q) {
    x[i] = q.center.x, y[i] = q.center.y, half_x[i] = q.half.x, half_y[i] = q.half.y;
  }
};

// Flags which of a run meet the box of `q`.
template <typename T>
OPS_INLINE bool meet_body(const Enclosures<T>& kept, int64_t start, const Quad<T>& q, bool* flags) {
  const T *x = kept.x.data() + start, *y = kept.y.data() + start;
  const T *half_x = kept.half_x.data() + start, *half_y = kept.half_y.data() + start;
  int found = 0;
  for (int64_t i = 0; i < kRun; ++i) {
    const int meets =
        (std::abs(x[i] - q.center.x) < half_x[i] + q.half.x) & (std::abs(y[i] - q.center.y) < half_y[i] + q.half.y);
    flags[i] = meets;
    found |= meets;
  }
  return found;
}

OPS_VECTORIZED bool meet(const Enclosures<float>& kept, int64_t start, const Quad<float>& q, bool* flags) {
  return meet_body(kept, start, q, flags);
}

OPS_VECTORIZED bool meet(const Enclosures<double>& kept, int64_t start, const Quad<double>& q, bool* flags) {
  return meet_body(kept, start, q, flags);
}

template <typename T>
class KeptQuads {
 public:
  explicit KeptQuads(int64_t n) : enclosures_(n) { quads_.reserve(n); }

  void keep(const Quad<T>& quad) {
    enclosures_.put(quads_.size(), quad);
    quads_.push_back(quad);
  }

  bool suppress(const Quad<T>& quad, T threshold) const {
    const int64_t n = quads_.size();
    bool flags[kRun];
    for (int64_t start = 0; start < n; start += kRun) {
      if (!meet(enclosures_, start, quad, flags)) continue;
      for (int64_t i = 0; i < std::min(kRun, n - start); ++i)
        if (flags[i] && overlap(quads_[start + i], quad, false) > threshold) return true;
    }
    return false;
  }

 private:
  Enclosures<T> enclosures_;
  std::vector<Quad<T>> quads_;
};

Tensor nms_rotated_cpu(const Tensor& boxes_in, const Tensor& scores_in, const Tensor& order_in,
                       const std::optional<Tensor>& groups, double iou_threshold) {
  const Tensor boxes = contiguous(boxes_in), scores = contiguous(scores_in), order = contiguous(order_in);
  Tensor keep = torch::stable::new_zeros(boxes, {boxes.size(0)}, ScalarType::Bool);
  dispatch_floating(boxes.scalar_type(), "nms_rotated", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    const S* rows = data<S>(boxes);
    const int64_t columns = boxes.size(1), *ranks = data<int64_t>(order);
    bool* flags = mutable_data<bool>(keep);
    for_each_group<S>(scores, order, groups, 0, [&](const int64_t* members, int64_t n) {
      KeptQuads<T> kept(n);
      for (int64_t i = 0; i < n; ++i) {
        const auto quad = load_quad<T>(rows + columns * ranks[members[i]], columns);
        if (kept.suppress(quad, T(iou_threshold))) continue;
        kept.keep(quad);
        flags[members[i]] = true;
      }
    });
  });
  return keep;
}

}  // namespace

OPS_REGISTER(m) {
  m.def("nms_rotated(Tensor boxes, Tensor scores, Tensor order, Tensor? groups, float iou_threshold) -> Tensor");
}

OPS_IMPLEMENT(CPU, m) { m.impl("nms_rotated", TORCH_BOX(&nms_rotated_cpu)); }

}  // namespace ops
