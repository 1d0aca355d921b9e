// Greedy non-maximum suppression, all of it on the device.
//
// Rows of boxes, by falling score, are taken in chunks. One kernel fills, for each row of a chunk, a bit for every
// later box that it would suppress; a second walks the rows of the chunk in order and collects the bits of those kept.
#include "common/box.h"
#include "cuda/launch.h"

namespace ops {
namespace {

constexpr int kTile = 64;
constexpr int64_t kChunk = 4096;  // rows: bounds the bit matrix to kChunk * n / 8 bytes
constexpr int kScanThreads = 1024;

using Word = unsigned long long;

template <typename T, typename S>
__global__ void gather_kernel(const S* boxes, const S* scores, const int64_t* order, const int64_t* groups, int64_t n,
                              double score_threshold, T* sorted_boxes, int64_t* sorted_groups, Word* removed) {
  for_each_index(n, [&](int64_t i) {
    const int64_t from = order[i];
    for (int k = 0; k < 4; ++k) sorted_boxes[4 * i + k] = static_cast<T>(boxes[4 * from + k]);
    sorted_groups[i] = groups ? groups[from] : 0;
    const double score = static_cast<T>(scores[from]);
    const bool valid = score_threshold > 0 ? score > score_threshold : score == score;
    if (!valid) atomicOr(removed + i / kTile, Word(1) << (i % kTile));
  });
}

// Block (x, y): 64 rows of the chunk, from `first_row` on, against 64 columns.
template <typename T>
__global__ void overlap_kernel(const T* boxes, const int64_t* groups, int64_t n, int64_t first_row, T threshold,
                               T offset, int64_t words, Word* mask) {
  __shared__ T columns[kTile * 5];
  __shared__ int64_t column_groups[kTile];
  const int64_t first_column = static_cast<int64_t>(blockIdx.x) * kTile;
  const int64_t row = first_row + static_cast<int64_t>(blockIdx.y) * kTile + threadIdx.x;
  if (first_column + kTile <= first_row + static_cast<int64_t>(blockIdx.y) * kTile) return;
  const int count = static_cast<int>(smaller<int64_t>(kTile, n - first_column));
  if (threadIdx.x < count) {
    const T* box = boxes + 4 * (first_column + threadIdx.x);
    for (int k = 0; k < 4; ++k) columns[5 * threadIdx.x + k] = box[k];
    columns[5 * threadIdx.x + 4] = area(load_box<T>(box), offset);
    column_groups[threadIdx.x] = groups[first_column + threadIdx.x];
  }
  __syncthreads();
  if (row >= n) return;
  const Box<T> box = load_box<T>(boxes + 4 * row);
  const T area_box = area(box, offset);
  Word bits = 0;
  for (int k = 0; k < count; ++k) {
    const T* other = columns + 5 * k;
    const bool later = first_column + k > row && column_groups[k] == groups[row];
    if (later && iou(box, area_box, load_box<T>(other), other[4], offset) > threshold) bits |= Word(1) << k;
  }
  mask[(row - first_row) * words + blockIdx.x] = bits;
}

// One block. `removed` carries over from chunk to chunk.
__global__ void scan_kernel(const Word* mask, int64_t n, int64_t first_row, int64_t rows, int64_t words, Word* removed,
                            bool* keep) {
  __shared__ Word diagonal[kTile];
  __shared__ Word kept;
  for (int64_t start = first_row; start < first_row + rows; start += kTile) {
    const int64_t word = start / kTile;
    const int count = static_cast<int>(smaller<int64_t>(kTile, first_row + rows - start));
    if (threadIdx.x < count) diagonal[threadIdx.x] = mask[(start - first_row + threadIdx.x) * words + word];
    __syncthreads();
    if (threadIdx.x == 0) {
      Word gone = removed[word], stay = 0;
      for (int k = 0; k < count; ++k) {
        if (gone >> k & 1) continue;
        stay |= Word(1) << k;
        gone |= diagonal[k];
      }
      kept = stay;
    }
    __syncthreads();
    if (threadIdx.x < count) keep[start + threadIdx.x] = kept >> threadIdx.x & 1;
    for (int64_t w = word + 1 + threadIdx.x; w < words; w += blockDim.x) {
      Word gone = removed[w];
      for (Word rest = kept; rest; rest &= rest - 1)
        gone |= mask[(start - first_row + __ffsll(static_cast<long long>(rest)) - 1) * words + w];
      removed[w] = gone;
    }
    __syncthreads();
  }
}

// `max_num` only allows to stop early, which the scan does not need.
Tensor nms_cuda(const Tensor& boxes_in, const Tensor& scores_in, const Tensor& order_in,
                const std::optional<Tensor>& groups_in, double iou_threshold, double score_threshold, int64_t offset,
                int64_t /*max_num*/) {
  const Tensor boxes = contiguous(boxes_in), scores = contiguous(scores_in), order = contiguous(order_in);
  const std::optional<Tensor> groups = groups_in ? std::make_optional(contiguous(*groups_in)) : std::nullopt;
  const int64_t n = boxes.size(0), words = (n + kTile - 1) / kTile, chunk = std::min(n, kChunk);
  Tensor keep = torch::stable::new_empty(boxes, {n}, ScalarType::Bool);
  if (n == 0) return keep;
  const Launcher launch(boxes);
  Tensor removed = torch::stable::new_zeros(boxes, {words}, ScalarType::Long);
  Tensor mask = torch::stable::new_empty(boxes, {chunk, words}, ScalarType::Long);
  Tensor sorted_groups = torch::stable::new_empty(boxes, {n}, ScalarType::Long);
  dispatch_floating(boxes.scalar_type(), "nms", [&](auto tag) {
    using S = typename decltype(tag)::type;
    using T = Accumulate<S>;
    Tensor sorted = torch::stable::new_empty(boxes, {n, 4}, accumulate_dtype<T>());
    launch.elementwise(n, gather_kernel<T, S>, data<S>(boxes), data<S>(scores), data<int64_t>(order),
                       groups ? data<int64_t>(*groups) : nullptr, n, score_threshold, mutable_data<T>(sorted),
                       mutable_data<int64_t>(sorted_groups), mutable_data<Word>(removed));
    for (int64_t first = 0; first < n; first += chunk) {
      const int64_t rows = std::min(chunk, n - first);
      const dim3 tiles(static_cast<unsigned>(words), static_cast<unsigned>((rows + kTile - 1) / kTile));
      launch(overlap_kernel<T>, tiles, kTile, data<T>(sorted), data<int64_t>(sorted_groups), n, first, T(iou_threshold),
             T(offset), words, mutable_data<Word>(mask));
      launch(scan_kernel, dim3(1), kScanThreads, data<Word>(mask), n, first, rows, words, mutable_data<Word>(removed),
             mutable_data<bool>(keep));
    }
  });
  return keep;
}

}  // namespace

OPS_IMPLEMENT(CUDA, m) { m.impl("nms", TORCH_BOX(&nms_cuda)); }

}  // namespace ops
