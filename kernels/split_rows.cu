// Rows on demand: slab data are generated from their recipe wherever they are wanted, so a test set needs no
// memory and a randomised variant is only another choice of row for some coordinates. A rotation follows as a
// product under the law.

#include "split_rows.hpp"

#include "epilogue.cuh"
#include "law/randomize.hpp"
#include "law/shape.hpp"
#include "law/slab.hpp"
#include "product.cuh"

namespace occam::cuda {

namespace {
constexpr int kThreads = 256;
constexpr int kCoordinates = 32, kRowsAtOnce = kThreads / kCoordinates, kRowsOfBlock = 64;
}  // namespace

// ---- building blocks --------------------------------------------------------------------------------------

// Where a slot's rotated rows go.
__device__ __forceinline__ float* destination(const SplitRows& a, const Member& member, int slot) {
  const std::int64_t stride = padded(a.inputs);
  return a.x ? a.x + static_cast<std::int64_t>(slot) * a.slots.capacity * stride
             : member.train_x + a.first * stride;
}

// ---- kernels ----------------------------------------------------------------------------------------------

__global__ void __launch_bounds__(kThreads)
    chunk_rows_kernel(const Member* members, const int* member, int slots, int split, std::int64_t first,
                      int capacity, int* rows_in_hand) {
  const int slot = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (slot >= slots) return;
  const std::int64_t left = members[member ? member[slot] : slot].rows[split] - first;
  rows_in_hand[slot] = left <= 0 ? 0 : left < capacity ? static_cast<int>(left) : capacity;
}

// One thread a row.
__global__ void __launch_bounds__(kThreads) labels_kernel(SplitRows a) {
  const int slot = static_cast<int>(blockIdx.y), split = static_cast<int>(a.split);
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const Member& member = a.members[a.slots.member_of(slot)];
  if (row >= member.rows[split]) return;
  const std::int64_t among_all = member.first[split] + row;
  std::int32_t* labels = a.labels ? a.labels + slot * a.pitch : member.train_y;
  labels[row] = member.columns ? law::slab_label(member.data_seed, static_cast<std::uint32_t>(among_all))
                               : member.table_y[among_all];
}

// One thread a row.
__global__ void __launch_bounds__(kThreads)
    donors_kernel(SplitRows a, std::uint32_t salt, std::uint32_t* donors) {
  const int slot = static_cast<int>(blockIdx.y);
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const Member& member = a.members[a.slots.member_of(slot)];
  const std::int64_t rows = member.rows[static_cast<int>(a.split)];
  if (row >= rows) return;
  const KeyedPermutation order =
      law::donor_permutation(member.data_seed, salt, static_cast<std::uint32_t>(rows));
  donors[slot * a.pitch + row] = order(static_cast<std::uint32_t>(row));
}

// A block writes kRowsOfBlock rows of kCoordinates coordinates; a thread keeps its coordinate's constants.
__global__ void __launch_bounds__(kThreads) rows_kernel(SplitRows a) {
  const int slot = static_cast<int>(blockIdx.y), split = static_cast<int>(a.split), stride = padded(a.inputs);
  const int across = tiles(stride, kCoordinates);
  const int coordinate =
      static_cast<int>(blockIdx.x) % across * kCoordinates + static_cast<int>(threadIdx.x) % kCoordinates;
  const int begin = static_cast<int>(blockIdx.x) / across * kRowsOfBlock, rows = a.slots.rows[slot];
  if (coordinate >= stride || begin >= rows) return;
  const int end = begin + kRowsOfBlock < rows ? begin + kRowsOfBlock : rows;
  const Member& member = a.members[a.slots.member_of(slot)];
  const std::int32_t* labels = a.labels ? a.labels + slot * a.pitch : member.train_y;
  const bool from_donor = coordinate < a.inputs && a.donors && a.randomized[coordinate] != 0;
  float* to = member.rotation ? a.plain + static_cast<std::int64_t>(slot) * a.slots.capacity * stride
                              : destination(a, member, slot);
  const std::int64_t first = a.firsts ? a.firsts[slot] : a.first;
  for (int row = begin + static_cast<int>(threadIdx.x) / kCoordinates; row < end; row += kRowsAtOnce) {
    float value = kPadding;
    if (coordinate < a.inputs) {
      const std::int64_t source = from_donor ? a.donors[slot * a.pitch + first + row] : first + row;
      const std::int64_t among_all = member.first[split] + source;
      value = member.columns
                  ? law::slab_value(member.columns[coordinate], static_cast<std::uint32_t>(coordinate),
                                    member.data_seed, static_cast<std::uint32_t>(among_all), labels[source])
              : member.shapes
                  ? law::shape_pixel(*member.shapes, member.places[among_all],
                                     coordinate / member.shapes->width, coordinate % member.shapes->width)
                  : member.table_x[among_all * stride + coordinate];
    }
    to[static_cast<std::int64_t>(row) * stride + coordinate] = value;
  }
}

// x[s][j] = Σ_k plain[s][k] · rotation[k][j]
template <class T>
__global__ void __launch_bounds__(T::kThreads, T::kBlocks) rotate_kernel(SplitRows a) {
  const int slot = static_cast<int>(blockIdx.y), rows = a.slots.rows[slot], stride = padded(a.inputs);
  const int across = tiles(a.inputs, T::kN);
  const int first_m = static_cast<int>(blockIdx.x) / across * T::kM,
            first_n = static_cast<int>(blockIdx.x) % across * T::kN;
  const Member& member = a.members[a.slots.member_of(slot)];
  if (first_m >= rows || !member.rotation) return;
  float value[T::kPerM][T::kPerN] = {};
  const Operand plain{a.plain + static_cast<std::int64_t>(slot) * a.slots.capacity * stride, nullptr, stride};
  const Operand rotation{member.rotation, nullptr, stride};
  accumulate<T, Order::depth, Order::extent>(plain, first_m, rows, rotation, first_n, a.inputs, a.inputs,
                                             value);
  store_tile<T>(destination(a, member, slot), TilePlace<T>{first_m, rows, first_n, a.inputs, stride}, value);
}

// ---- launchers --------------------------------------------------------------------------------------------

namespace {

dim3 grid_of_split(const SplitRows& a) {
  require(a.pitch >= 1 && a.pitch <= INT32_MAX - kThreads, "split rows: {} rows", a.pitch);
  return dim3(static_cast<unsigned>(tiles(static_cast<int>(a.pitch), kThreads)),
              static_cast<unsigned>(a.slots.count));
}

}  // namespace

void launch_chunk_rows(Stream& stream, const Member* members, const int* member, int slots, Split split,
                       std::int64_t first, int capacity, int* rows_in_hand) {
  const NvtxRange range{"chunk rows"};
  launch(stream, "chunk_rows", chunk_rows_kernel, dim3(static_cast<unsigned>(tiles(slots, kThreads))),
         dim3(kThreads), 0, members, member, slots, static_cast<int>(split), first, capacity, rows_in_hand);
}

void launch_split_labels(Stream& stream, const SplitRows& a) {
  const NvtxRange range{"labels"};
  launch(stream, "labels", labels_kernel, grid_of_split(a), dim3(kThreads), 0, a);
}

void launch_permuted_donors(Stream& stream, const SplitRows& a, std::uint32_t salt, std::uint32_t* donors) {
  const NvtxRange range{"donors"};
  launch(stream, "donors", donors_kernel, grid_of_split(a), dim3(kThreads), 0, a, salt, donors);
}

void launch_split_rows(Stream& stream, const SplitRows& a) {
  const NvtxRange range{"split rows"};
  const auto slots = static_cast<unsigned>(a.slots.count);
  const int blocks = tiles(a.slots.capacity, kRowsOfBlock) * tiles(padded(a.inputs), kCoordinates);
  launch(stream, "rows", rows_kernel, dim3(static_cast<unsigned>(blocks), slots), dim3(kThreads), 0, a);
  const int rotations = tiles(a.slots.capacity, Wide::kM) * tiles(a.inputs, Wide::kN);
  launch(stream, "rotate", rotate_kernel<Wide>, dim3(static_cast<unsigned>(rotations), slots),
         dim3(Wide::kThreads), sizeof(Stages<Wide, Order::depth, Order::extent>), a);
}

}  // namespace occam::cuda
