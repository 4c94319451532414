// What a wave keeps on the device whatever is done with it: its members' constants, data and parameters.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "../backend.hpp"
#include "cuda/layout.hpp"
#include "cuda/runtime.hpp"
#include "law/slab.hpp"
#include "shape_set.hpp"

namespace occam::cuda {

// Device memory of `count` elements at least; grows when asked for more, and is then empty of content.
template <class T>
T* ensure(DeviceBuffer<T>& buffer, const char* name, std::int64_t count) {
  if (static_cast<std::int64_t>(buffer.size()) < count) {
    buffer = {};  // gives back before it takes
    buffer = DeviceBuffer<T>(name, static_cast<std::size_t>(count));
  }
  return buffer.data();
}

// Rows of a launch: enough to fill a device with one member.
inline constexpr std::int64_t kMaxChunk = 1 << 14;

inline std::int64_t round_up(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

class WaveData {
 public:
  // Uploads everything but the training rows of slab data, which the scorer generates into the room left for
  // them. Images of shapes are their places and nothing more; all members have them, or none. parameters: taken over
  // from other data of the same members; without them all are 0.
  explicit WaveData(const WaveRequest& request, DeviceBuffer<float> parameters = {});

  const MlpSpec& spec() const { return spec_; }
  const DeviceLayout& layout() const { return layout_; }
  Stream& stream() { return stream_; }
  int members() const { return static_cast<int>(members_.size()); }
  const Member& member(int index) const { return members_[static_cast<std::size_t>(index)]; }
  // Rows of the member that has most; one at least.
  std::int64_t longest(std::span<const int> members, Split split) const;
  bool images() const { return members_.front().shapes != nullptr; }
  const Data& data(int index) const { return data_[static_cast<std::size_t>(index)]; }
  const Member* device_members() const { return device_members_.data(); }
  float* parameters() { return parameters_.data(); }
  DeviceBuffer<float> take_parameters() { return std::move(parameters_); }

  // On the device from the next upload_members on, which keeps to the stream's order.
  void set_optimizer(int member, const law::OptimizerConstants& constants) {
    members_[static_cast<std::size_t>(member)].optimizer = constants;
  }
  void upload_members() { copy_to_device(stream_, device_members_, members_); }

  void load(int member, std::span<const float> parameters) { load(parameters_.data(), member, parameters); }
  void store(int member, std::span<float> parameters) { store(parameters_.data(), member, parameters); }
  void initialize(int member, const Initialization& init, std::uint32_t seed);
  // The same of other arrays [members][layout.stride] on the device.
  void load(float* all, int member, std::span<const float> values);
  void store(const float* all, int member, std::span<float> values);

 private:
  void place_table(std::size_t index, const ArrayData& data);
  void place_images(std::size_t index, const ShapeData& data, const Training* training);
  void upload_slabs(int threads, Interrupt interrupt);

  MlpSpec spec_;
  DeviceLayout layout_;
  Stream stream_;
  std::vector<Data> data_;
  std::vector<Member> members_;
  DeviceBuffer<Member> device_members_;
  DeviceBuffer<float> parameters_;           // [members][layout.stride]
  DeviceBuffer<float> train_x_, rotations_;  // slab data, one member after the other
  DeviceBuffer<std::int32_t> train_y_;
  DeviceBuffer<law::SlabColumn> columns_;
  struct DeviceTable {
    const ArrayData::Table* source;
    DeviceBuffer<float> x;         // [rows][padded(dim)]
    DeviceBuffer<std::int32_t> y;  // [rows]
  };
  std::vector<DeviceTable> tables_;  // each once, however many members share it
  struct DeviceShapes {
    const ShapeSet* source;
    DeviceBuffer<law::ShapeBox> boxes;
    DeviceBuffer<float> values;
    DeviceBuffer<law::ShapeSpan> spans;
    DeviceBuffer<law::Shapes> view;  // [1], of the three above
  };
  std::vector<DeviceShapes> shapes_;  // likewise
  struct DeviceImages {
    DeviceBuffer<law::ShapePlace> places;  // [all rows]
    DeviceBuffer<std::int32_t> labels;     // [all rows]
    DeviceBuffer<std::uint8_t> live;
  };
  std::vector<DeviceImages> images_;  // of each member that has them
};

}  // namespace occam::cuda
