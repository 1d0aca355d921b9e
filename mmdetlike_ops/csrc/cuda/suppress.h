// Greedy suppression of boxes of any kind, all of it on the device.
//
// Rows of boxes, by falling score, are taken in chunks. One kernel fills, for each row of a chunk, a bit for every
// later box that it would suppress; a second walks the rows of the chunk in order and collects the bits of those kept.
//
// What a box is and when one suppresses another is a `Rule`:
//   using Shape = ...;                                          a box as computed on
//   template <typename S> Shape load(const S* boxes, int64_t i) the i-th box
//   bool suppresses(const Shape& kept, const Shape& other)
#pragma once

#include "common/box.h"
#include "cuda/launch.h"

namespace ops {

constexpr int kTile = 64;
constexpr int64_t kChunk = 4096;  // rows: bounds the bit matrix to kChunk * n / 8 bytes
constexpr int kScanThreads = 1024;

using Word = unsigned long long;

template <typename S>
struct Candidates {
  const S *boxes, *scores;
  const int64_t *order, *groups;  // groups may be null: all in one
  int64_t count;
  double score_threshold;
};

template <typename Rule, typename S>
__global__ void gather_kernel(Candidates<S> c, Rule rule, typename Rule::Shape* shapes, int64_t* sorted_groups,
                              Word* removed) {
  for_each_index(c.count, [&](int64_t i) {
    const int64_t from = c.order[i];
    shapes[i] = rule.load(c.boxes, from);
    sorted_groups[i] = c.groups ? c.groups[from] : 0;
    const double score = static_cast<Accumulate<S>>(c.scores[from]);
    const bool valid = c.score_threshold > 0 ? score > c.score_threshold : score == score;
    if (!valid) atomicOr(removed + i / kTile, Word(1) << (i % kTile));
  });
}

// Block (x, y): 64 rows of the chunk, from `first_row` on, against 64 columns.
template <typename Rule>
__global__ void overlap_kernel(const typename Rule::Shape* shapes, const int64_t* groups, int64_t n, int64_t first_row,
                               Rule rule, int64_t words, Word* mask) {
  __shared__ typename Rule::Shape columns[kTile];
  __shared__ int64_t column_groups[kTile];
  const int64_t first_column = static_cast<int64_t>(blockIdx.x) * kTile;
  const int64_t row = first_row + static_cast<int64_t>(blockIdx.y) * kTile + threadIdx.x;
  if (first_column + kTile <= first_row + static_cast<int64_t>(blockIdx.y) * kTile) return;
  const int count = static_cast<int>(smaller<int64_t>(kTile, n - first_column));
  if (threadIdx.x < count) {
    columns[threadIdx.x] = shapes[first_column + threadIdx.x];
    column_groups[threadIdx.x] = groups[first_column + threadIdx.x];
  }
  __syncthreads();
  if (row >= n) return;
  const typename Rule::Shape shape = shapes[row];
  Word bits = 0;
  for (int k = 0; k < count; ++k) {
    const bool later = first_column + k > row && column_groups[k] == groups[row];
    if (later && rule.suppresses(shape, columns[k])) bits |= Word(1) << k;
  }
  mask[(row - first_row) * words + blockIdx.x] = bits;
}

// One block. `removed` carries over from chunk to chunk.
static __global__ void scan_kernel(const Word* mask, int64_t n, int64_t first_row, int64_t rows, int64_t words,
                                   Word* removed, bool* keep) {
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

// Flags, in the order given by `order`, which boxes are kept.
template <typename Rule, typename S>
void suppress(const Tensor& boxes, const Tensor& scores, const Tensor& order, const std::optional<Tensor>& groups_in,
              double score_threshold, const Rule& rule, Tensor& keep) {
  using Shape = typename Rule::Shape;
  const int64_t n = boxes.size(0), words = (n + kTile - 1) / kTile, chunk = std::min(n, kChunk);
  if (n == 0) return;
  const std::optional<Tensor> groups = groups_in ? std::make_optional(contiguous(*groups_in)) : std::nullopt;
  const Launcher launch(boxes);
  Tensor removed = torch::stable::new_zeros(boxes, {words}, ScalarType::Long);
  Tensor mask = torch::stable::new_empty(boxes, {chunk, words}, ScalarType::Long);
  Tensor sorted_groups = torch::stable::new_empty(boxes, {n}, ScalarType::Long);
  Tensor shapes = torch::stable::new_empty(boxes, {n * static_cast<int64_t>(sizeof(Shape))}, ScalarType::Byte);
  const Candidates<S> candidates{
      data<S>(boxes), data<S>(scores), data<int64_t>(order), groups ? data<int64_t>(*groups) : nullptr, n,
      score_threshold};
  launch.elementwise(n, gather_kernel<Rule, S>, candidates, rule, mutable_data<Shape>(shapes),
                     mutable_data<int64_t>(sorted_groups), mutable_data<Word>(removed));
  for (int64_t first = 0; first < n; first += chunk) {
    const int64_t rows = std::min(chunk, n - first);
    const dim3 tiles(static_cast<unsigned>(words), static_cast<unsigned>((rows + kTile - 1) / kTile));
    launch(overlap_kernel<Rule>, tiles, kTile, data<Shape>(shapes), data<int64_t>(sorted_groups), n, first, rule, words,
           mutable_data<Word>(mask));
    launch(scan_kernel, dim3(1), kScanThreads, data<Word>(mask), n, first, rows, words, mutable_data<Word>(removed),
           mutable_data<bool>(keep));
  }
}

}  // namespace ops
