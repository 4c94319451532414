#include "cuda/wave_data.hpp"

#include <algorithm>

#include "initial_draws.hpp"
#include "initialize.hpp"
#include "law/dropout.hpp"
#include "threads.hpp"

namespace occam::cuda {

namespace {

constexpr Split kSplits[] = {Split::train, Split::validation, Split::test};

// Rows padded to whole quads. x: [rows][width]
std::vector<float> padded_rows(const float* x, std::int64_t rows, int width, float padding) {
  const std::int64_t stride = padded(width);
  std::vector<float> result(static_cast<std::size_t>(rows * stride), padding);
  for (std::int64_t row = 0; row < rows; ++row)
    std::copy_n(x + row * width, width, result.data() + row * stride);
  return result;
}

template <class T>
DeviceBuffer<T> upload(Stream& stream, const char* name, std::span<const T> values) {
  DeviceBuffer<T> buffer(name, values.size());
  if (!values.empty()) copy_to_device(stream, buffer.data(), values.data(), values.size());
  return buffer;
}

// A small network travels in one piece, with its padding; of a large one that piece would cost more than copies of its
// tensors, whose padding stays as it is.
bool travels_by_tensor(const DeviceLayout& layout) {
  constexpr std::int64_t kLarge = 1 << 20;
  return layout.stride() >= kLarge && layout.layers().front().in <= kLarge && layout.widest() <= kLarge;
}

}  // namespace

WaveData::WaveData(const WaveRequest& request, DeviceBuffer<float> parameters)
    : spec_(*request.spec), layout_(spec_), stream_(request.threads),
      data_(request.data.begin(), request.data.end()), members_(request.data.size()) {
  require(!data_.empty() && data_.size() <= kMaxSlots, "wave: {} members; give 1 to {}", data_.size(),
          kMaxSlots);
  require(request.seeds.size() == data_.size() &&
              (request.trainings.empty() || request.trainings.size() == data_.size()),
          "wave: {} members, {} seeds, {} trainings", data_.size(), request.seeds.size(),
          request.trainings.size());
  const bool trains = !request.trainings.empty();
  std::int64_t train_rows = 0, slabs = 0;
  for (const Data& data : data_) {
    require(dim(data) == spec_.inputs, "wave: data of dimension {}, the network has {} inputs", dim(data),
            spec_.inputs);
    if (!std::holds_alternative<SlabData>(data)) continue;
    ++slabs;
    if (trains) train_rows += rows(data, Split::train);
  }
  const std::int64_t stride = padded(spec_.inputs);
  train_x_ = DeviceBuffer<float>("training rows", static_cast<std::size_t>(train_rows * stride));
  train_y_ = DeviceBuffer<std::int32_t>("training labels", static_cast<std::size_t>(train_rows));
  columns_ = DeviceBuffer<law::SlabColumn>("slab columns", static_cast<std::size_t>(slabs * spec_.inputs));
  rotations_ = DeviceBuffer<float>("rotations", static_cast<std::size_t>(slabs * spec_.inputs * stride));

  std::int64_t row = 0, slab = 0;
  for (std::size_t i = 0; i < members_.size(); ++i) {
    Member& member = members_[i];
    member = Member{};
    for (const Split split : kSplits) {
      member.rows[static_cast<int>(split)] = rows(data_[i], split);
      member.first[static_cast<int>(split)] = first_row(data_[i], split);
    }
    member.data_seed = seed(data_[i]);
    member.order_seed = request.seeds[i].order;
    if (trains) {
      const Training& training = request.trainings[i];
      member.in_order = training.in_order;
      member.optimizer = law::optimizer_constants(training.optimizer);
      member.input_dropout = law::dropout_constants(training.input_dropout);
      member.hidden_dropout = law::dropout_constants(training.hidden_dropout);
    }
    if (const auto* recipe = std::get_if<SlabData>(&data_[i])) {
      if (trains) {
        member.train_x = train_x_.data() + row * stride;
        member.train_y = train_y_.data() + row;
        row += member.rows[static_cast<int>(Split::train)];
      }
      member.columns = columns_.data() + slab * spec_.inputs;
      if (recipe->spec->rotate) member.rotation = rotations_.data() + slab * spec_.inputs * stride;
      ++slab;
    } else if (const auto* shapes = std::get_if<ShapeData>(&data_[i])) {
      place_images(i, *shapes, trains ? &request.trainings[i] : nullptr);
    } else {
      place_table(i, std::get<ArrayData>(data_[i]));
    }
    require((member.shapes != nullptr) == images(), "wave: images of shapes share no wave with other data");
  }
  upload_slabs(std::max(1, request.threads), request.interrupt);
  device_members_ = upload<Member>(stream_, "members", members_);
  parameters_ = std::move(parameters);
  if (parameters_.size() > 0) return;
  parameters_ =
      DeviceBuffer<float>("parameters", members_.size() * static_cast<std::size_t>(layout_.stride()));
  fill(stream_, parameters_);
}

void WaveData::place_table(std::size_t index, const ArrayData& data) {
  const ArrayData::Table* source = data.table.get();
  auto at =
      std::find_if(tables_.begin(), tables_.end(), [=](const DeviceTable& t) { return t.source == source; });
  if (at == tables_.end()) {
    const auto rows = static_cast<std::int64_t>(source->y.size());
    const std::vector<float> x = padded_rows(source->x.data(), rows, source->dim, kPadding);
    tables_.push_back({source, upload<float>(stream_, "table rows", x),
                       upload<std::int32_t>(stream_, "table labels", source->y)});
    at = tables_.end() - 1;
  }
  Member& member = members_[index];
  member.table_x = at->x.data();
  member.table_y = at->y.data();
  member.train_x = at->x.data() + member.first[static_cast<int>(Split::train)] * padded(source->dim);
  member.train_y = at->y.data() + member.first[static_cast<int>(Split::train)];
}

void WaveData::place_images(std::size_t index, const ShapeData& data, const Training* training) {
  const ShapeSet* source = data.set.get();
  auto at =
      std::find_if(shapes_.begin(), shapes_.end(), [=](const DeviceShapes& s) { return s.source == source; });
  if (at == shapes_.end()) {
    shapes_.push_back({source,
                       upload<law::ShapeBox>(stream_, "shape boxes", source->boxes()),
                       upload<float>(stream_, "shape pixels", source->values()),
                       upload<law::ShapeSpan>(stream_, "shape spans", source->spans()),
                       {}});
    at = shapes_.end() - 1;
    law::Shapes view = source->view();
    view.box = at->boxes.data(), view.value = at->values.data(), view.span = at->spans.data();
    at->view = upload<law::Shapes>(stream_, "shapes", {&view, 1});
  }
  std::vector<law::ShapePlace> places;
  for (const Split split : {Split::test, Split::validation, Split::train}) {
    const std::vector<law::ShapePlace> of_split = shape_places(data, split);
    places.insert(places.end(), of_split.begin(), of_split.end());
  }
  std::vector<std::int32_t> labels;
  for (const law::ShapePlace& place : places) labels.push_back(place.shape);
  std::vector<std::uint8_t> live((static_cast<std::size_t>(spec_.inputs) + kQuad - 1) / kQuad);
  if (training) {
    // Weight decay changes weights that no row reads.
    const bool all = training->optimizer.weight_decay != 0;
    const std::vector<std::uint8_t> lit = lit_pixels(source->view(), shape_places(data, Split::train));
    for (std::size_t pixel = 0; pixel < lit.size(); ++pixel)
      if (all || lit[pixel]) live[pixel / kQuad] = 1;
  }
  images_.push_back({upload<law::ShapePlace>(stream_, "shape places", places),
                     upload<std::int32_t>(stream_, "labels", labels),
                     upload<std::uint8_t>(stream_, "live pixels", live)});
  Member& member = members_[index];
  member.shapes = at->view.data();
  member.places = images_.back().places.data();
  member.live = images_.back().live.data();
  member.table_y = images_.back().labels.data();
  member.train_y = images_.back().labels.data() + member.first[static_cast<int>(Split::train)];
}

void WaveData::upload_slabs(int threads, Interrupt interrupt) {
  std::vector<const Data*> slabs;
  for (const Data& data : data_)
    if (std::holds_alternative<SlabData>(data)) slabs.push_back(&data);
  // Each thread makes the rotation of one, then all are copied.
  for (std::size_t first = 0; first < slabs.size(); first += static_cast<std::size_t>(threads)) {
    const std::size_t count = std::min(static_cast<std::size_t>(threads), slabs.size() - first);
    std::vector<std::vector<float>> rotations(count);
    on_threads(static_cast<int>(count), [&](int t) {
      const std::vector<float> matrix = rotation(*slabs[first + static_cast<std::size_t>(t)], interrupt);
      if (!matrix.empty())
        rotations[static_cast<std::size_t>(t)] = padded_rows(matrix.data(), spec_.inputs, spec_.inputs, 0.0f);
    });
    for (std::size_t t = 0; t < count; ++t) {
      const auto place = static_cast<std::int64_t>(first + t);
      const SlabData& recipe = std::get<SlabData>(*slabs[first + t]);
      const std::vector<law::SlabColumn> columns = law::slab_columns(*recipe.spec, recipe.seed);
      copy_to_device(stream_, columns_.data() + place * spec_.inputs, columns.data(), columns.size());
      const std::vector<float>& matrix = rotations[t];
      if (!matrix.empty())
        copy_to_device(stream_, rotations_.data() + place * static_cast<std::int64_t>(matrix.size()),
                       matrix.data(), matrix.size());
    }
  }
}

std::int64_t WaveData::longest(std::span<const int> members, Split split) const {
  std::int64_t rows = 1;
  for (const int m : members) rows = std::max(rows, member(m).rows[static_cast<int>(split)]);
  return rows;
}

void WaveData::load(float* all, int member, std::span<const float> parameters) {
  require(static_cast<std::int64_t>(parameters.size()) == layout_.total(),
          "load: {} parameters, the network has {}", parameters.size(), layout_.total());
  float* const to = all + member * layout_.stride();
  if (travels_by_tensor(layout_))
    return layout_.for_each_tensor(
        [&](std::int64_t host, std::int64_t device, int rows, int columns, int stride) {
          copy_rows_to_device(stream_, to + device, stride, parameters.data() + host, rows, columns);
        });
  const std::vector<float> image = layout_.to_device(parameters);
  copy_to_device(stream_, to, image.data(), image.size());
}

void WaveData::initialize(int member, const Initialization& init, std::uint32_t seed) {
  for (const LayerView& layer : layout_.layers())
    launch_initialize(stream_, {layer, layer_draws(init, layer.in, layer.out), seed,
                                parameters_.data() + member * layout_.stride()});
}

void WaveData::store(const float* all, int member, std::span<float> parameters) {
  require(static_cast<std::int64_t>(parameters.size()) == layout_.total(),
          "store: {} parameters, the network has {}", parameters.size(), layout_.total());
  const float* const from = all + member * layout_.stride();
  if (travels_by_tensor(layout_))
    return layout_.for_each_tensor(
        [&](std::int64_t host, std::int64_t device, int rows, int columns, int stride) {
          copy_rows_to_host(stream_, parameters.data() + host, from + device, stride, rows, columns);
        });
  std::vector<float> image(static_cast<std::size_t>(layout_.stride()));
  copy_to_host(stream_, image.data(), from, image.size());
  layout_.to_host(image, parameters);
}

}  // namespace occam::cuda
