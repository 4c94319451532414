// The forward product of a layer, for every member and every tile of its batch at once. Gathering the batch,
// bias, activation, dropout and, in inference, batch norm happen in registers: an activation is written once.

#include "forward.cuh"
#include "tensor_tile.cuh"

namespace occam::cuda {

// ---- kernels ----------------------------------------------------------------------------------------------

template <class T>
__global__ void __launch_bounds__(T::kThreads, T::kBlocks) forward_kernel(ForwardArguments a) {
  const int slot = static_cast<int>(blockIdx.y), rows = a.slots.rows[slot];
  const int across = tiles(a.layer.out, T::kN);
  const int first_m = static_cast<int>(blockIdx.x) / across * T::kM,
            first_n = static_cast<int>(blockIdx.x) % across * T::kN;
  if (first_m >= rows) return;
  const int id = a.slots.member_of(slot);
  const Member& member = a.wave.members[id];
  const float* parameters = a.wave.parameters + id * a.wave.parameter_stride;
  const std::int64_t place = static_cast<std::int64_t>(slot) * a.slots.capacity;  // of the slot's first row

  float value[T::kPerM][T::kPerN];
  start_forward<T>(a.layer, parameters, first_n, value);
  const Operand input =
      a.input   ? Operand{a.input + place * a.layer.in_stride, nullptr, a.layer.in_stride}
      : a.batch ? Operand{member.train_x, a.batch + place, a.layer.in_stride}
                : Operand{member.train_x + a.first_row * a.layer.in_stride, nullptr, a.layer.in_stride};
  const Operand weight{parameters + a.layer.weight, nullptr, a.layer.in_stride};
  accumulate<T, Order::depth, Order::depth>(input, first_m, rows, weight, first_n, a.layer.out, a.layer.in,
                                            value);

  finish_forward<T>(a, id, place, {first_m, rows, first_n, a.layer.out, a.layer.out_stride}, value);
}

// ---- launchers --------------------------------------------------------------------------------------------

namespace {

template <class T>
void launch_tiles(Stream& stream, const ForwardArguments& a) {
  const dim3 grid(static_cast<unsigned>(tiles(a.slots.capacity, T::kM) * tiles(a.layer.out, T::kN)),
                  static_cast<unsigned>(a.slots.count));
  launch(stream, "forward", forward_kernel<T>, grid, dim3(T::kThreads),
         sizeof(Stages<T, Order::depth, Order::depth>), a);
}

}  // namespace

void launch_forward(Stream& stream, const ForwardArguments& a) {
  const NvtxRange range{"forward"};
  require(a.slots.count >= 1 && a.slots.count <= kMaxSlots, "forward: {} members at once; give 1 to {}",
          a.slots.count, kMaxSlots);
  require(a.output, "forward: no output");
  if (is_on_tensor_cores(a.precision, a.layer))
    return with_tensor_tile(a.precision, a.slots.capacity, [&]<class T>() { launch_tiles<T>(stream, a); });
  if (a.layer.out <= FewColumns::kN) return launch_tiles<FewColumns>(stream, a);
  if (a.slots.capacity <= FewRows::kM) return launch_tiles<FewRows>(stream, a);
  if (a.slots.capacity <= Square::kM) return launch_tiles<Square>(stream, a);
  launch_tiles<Wide>(stream, a);
}

}  // namespace occam::cuda
