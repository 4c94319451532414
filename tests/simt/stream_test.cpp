// Order of work in different streams. Work runs when it is submitted, so the results here are right either way;
// what is refused is what a GPU might do in another order.
#include "simt/executor_fixture.hpp"

namespace occam::cuda {
namespace {

__global__ void stream_write_kernel(float* out) { out[threadIdx.x] = 1.0f; }
__global__ void stream_copy_kernel(float* out, const float* in) { out[threadIdx.x] = in[threadIdx.x]; }
__global__ void stream_double_kernel(float* values) { values[threadIdx.x] *= 2.0f; }
__global__ void stream_count_kernel(int* counter) { atomicAdd(counter, 1); }

class Streams : public Executor {
 protected:
  void write(Stream& s, DeviceBuffer<float>& buffer) {
    launch(s, "write", stream_write_kernel, 1, kThreads, 0, buffer.data());
  }
  void copy(Stream& s, DeviceBuffer<float>& to, const DeviceBuffer<float>& from) {
    launch(s, "copy", stream_copy_kernel, 1, kThreads, 0, to.data(), from.data());
  }
  // `to` goes on after all that `from` has now.
  static void order(Stream& from, Stream& to) {
    Event event;
    event.record(from);
    to.wait(event);
  }

  Stream other, third;
  DeviceBuffer<float> a{"a", kThreads}, b{"b", kThreads}, c{"c", kThreads};
};

TEST_F(Streams, ReadOfWhatAnotherStreamWritesNeedsAWait) {
  write(stream, a);
  EXPECT_THAT(violation([&] { copy(other, b, a); }),
              AllOf(HasSubstr("kernel copy <<<"), HasSubstr("order of streams: the launch of copy in stream"),
                    HasSubstr("reads byte"), HasSubstr("of buffer 'a' (256 B"), HasSubstr("stream_test.cpp:"),
                    HasSubstr("the launch of write in stream"), HasSubstr("which writes that buffer"),
                    HasSubstr("a Stream::wait")));
  order(stream, other);
  copy(other, b, a);
  EXPECT_EQ(download(a), std::vector<float>(kThreads, 1.0f));
}

TEST_F(Streams, WriteOfWhatAnotherStreamReadsNeedsAWait) {
  write(stream, a);
  stream.synchronize();
  copy(stream, b, a);
  EXPECT_THAT(violation([&] { write(other, a); }), AllOf(HasSubstr("writes byte"), HasSubstr("of buffer 'a'"),
                                                         HasSubstr("which reads that buffer")));
  EXPECT_THAT(violation([&] { write(other, b); }),
              AllOf(HasSubstr("of buffer 'b'"), HasSubstr("which writes that buffer")));
  order(stream, other);
  write(other, a);
  write(other, b);
}

TEST_F(Streams, EveryReaderCounts) {
  for (const bool first_is_covered : {true, false}) {
    write(stream, a);
    order(stream, other);
    order(stream, third);
    copy(other, b, a);
    copy(third, c, a);
    order(first_is_covered ? other : third, stream);
    EXPECT_THAT(violation([&] { write(stream, a); }), HasSubstr("of buffer 'a'"));
    order(first_is_covered ? third : other, stream);
    write(stream, a);
  }
}

TEST_F(Streams, StreamsMayReadOneBuffer) {
  const auto in = upload("in", kThreads);
  stream.synchronize();
  copy(stream, a, in);
  copy(other, b, in);
  copy(third, c, in);
}

TEST_F(Streams, EventRecordedBeforeTheWorkDoesNotCoverIt) {
  Event before, after, never;
  before.record(stream);
  write(stream, a);
  after.record(stream);
  other.wait(before);
  other.wait(never);
  EXPECT_THAT(violation([&] { copy(other, b, a); }), HasSubstr("which writes that buffer"));
  write(stream, c);  // after the event: nothing to `other`, which does not use c
  other.wait(after);
  copy(other, b, a);
  EXPECT_THAT(violation([&] { copy(other, b, c); }), HasSubstr("of buffer 'c'"));
}

TEST_F(Streams, WaitsPassOn) {
  write(stream, a);
  order(stream, other);
  order(other, third);
  copy(third, b, a);
  write(other, c);  // `third` waited for `other` before
  EXPECT_THAT(violation([&] { copy(third, b, c); }), HasSubstr("of buffer 'c'"));
}

TEST_F(Streams, WaitIsOneWay) {
  order(stream, other);
  write(other, a);
  EXPECT_NE(violation([&] { copy(stream, b, a); }), "");
}

TEST_F(Streams, HostThatWaitedOrdersWhatItSubmits) {
  write(stream, a);
  stream.synchronize();
  copy(other, b, a);
  Event event;
  event.record(other);
  write(other, c);
  event.synchronize();
  copy(stream, a, b);
  EXPECT_THAT(violation([&] { copy(stream, a, c); }), HasSubstr("of buffer 'c'"));
}

TEST_F(Streams, CopyToTheHostWaitsAndCopyToTheDeviceDoesNot) {
  const std::vector<float> values = ramp(kThreads);
  copy_to_device(stream, a, std::span<const float>(values));
  EXPECT_THAT(violation([&] { copy(other, b, a); }), HasSubstr("the copy to the device in stream"));
  download(a);
  copy(other, b, a);
  EXPECT_THAT(violation([&] { download(b); }),
              AllOf(HasSubstr("the copy to the host in stream"), HasSubstr("of buffer 'b'")));
}

TEST_F(Streams, FillsAndCopiesAreWork) {
  fill(stream, a);
  EXPECT_THAT(violation([&] { copy_on_device(other, b.data(), a.data(), kThreads); }),
              AllOf(HasSubstr("the copy on the device in stream"), HasSubstr("the fill in stream")));
  EXPECT_THAT(violation([&] { fill(other, a); }), HasSubstr("writes byte 0 of buffer 'a'"));
  copy_on_device(stream, b.data(), a.data(), kThreads);
  EXPECT_THAT(violation([&] { fill(other, b); }), HasSubstr("buffer 'b'"));
  EXPECT_THAT(violation([&] { fill(other, a); }), HasSubstr("buffer 'a'"));
  order(stream, other);
  fill(other, a);
  fill(other, b);
}

TEST_F(Streams, AtomicsWrite) {
  DeviceBuffer<int> counter("counter", 1);
  fill(stream, counter);
  launch(stream, "count", stream_count_kernel, 1, kThreads, 0, counter.data());
  EXPECT_THAT(violation([&] { launch(other, "count", stream_count_kernel, 1, kThreads, 0, counter.data()); }),
              HasSubstr("writes byte 0 of buffer 'counter'"));
  order(stream, other);
  launch(other, "count", stream_count_kernel, 1, kThreads, 0, counter.data());
  EXPECT_EQ(violation([&] { other.synchronize(); }), "");
  EXPECT_EQ(download(counter)[0], 2 * kThreads);
}

TEST_F(Streams, GraphReplaysAreOrderedByTheStreamTheyRunIn) {
  const Graph graph = capture(third, [&] {
    launch(third, "double", stream_double_kernel, 1, kThreads, 0, a.data());
    copy(third, b, a);
  });
  write(stream, a);
  EXPECT_THAT(violation([&] { graph.launch(other); }),
              AllOf(HasSubstr("the launch of double in stream"), HasSubstr("(step 1 of a graph)"),
                    HasSubstr("the launch of write in stream")));
  order(stream, other);
  graph.launch(other);
  graph.launch(other);
  EXPECT_THAT(violation([&] { copy(stream, c, b); }),
              AllOf(HasSubstr("of buffer 'b'"), HasSubstr("(step 2 of a graph)")));
  order(other, stream);
  copy(stream, c, b);
  EXPECT_EQ(download(c), std::vector<float>(kThreads, 4.0f));
}

TEST_F(Streams, ReleasedStreamWasWaitedFor) {
  {
    Stream brief;
    write(brief, a);
    EXPECT_NE(violation([&] { copy(other, b, a); }), "");
  }
  copy(other, b, a);
}

TEST_F(Streams, NewBufferInAnOldPlaceIsNobodys) {
  for (int i = 0; i < 3; ++i) {
    DeviceBuffer<float> brief("brief", kThreads);
    write(i % 2 == 0 ? stream : other, brief);  // released while it runs: a GPU waits there
  }
}

TEST_F(Streams, CapturesKeepToTheirStream) {
  Event event;
  event.record(stream);
  const auto message = [&](auto&& work) {
    try {
      capture(stream, work);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(message([&] { event.record(stream); }), HasSubstr("while a graph is captured"));
  EXPECT_THAT(message([&] { stream.wait(event); }), HasSubstr("while a graph is captured"));
  EXPECT_THAT(message([&] { stream.synchronize(); }), HasSubstr("while a graph is captured"));
  EXPECT_THAT(message([&] { DeviceBuffer<float>("late", 1); }), HasSubstr("late: memory is allocated while"));
  EXPECT_THAT(violation([&] { capture(stream, [&] { a = {}; }); }),
              AllOf(HasSubstr("buffer 'a'"), HasSubstr("is released while a graph is captured")));
  EXPECT_EQ(violation([&] { capture(stream, [&] { write(stream, b); }); }), "");
}

TEST_F(Streams, GraphOfAReleasedBufferIsFound) {
  const Graph graph = capture(stream, [&] {
    write(stream, b);
    fill(stream, a);
  });
  graph.launch(stream);
  a = {};
  EXPECT_THAT(violation([&] { graph.launch(stream); }), HasSubstr("released buffer 'a'"));
}

}  // namespace
}  // namespace occam::cuda
