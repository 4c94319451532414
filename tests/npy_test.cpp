// .npy arrays, byte for byte: headers in every spelling, and what is wrong with a file.
#include <gmock/gmock.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/npz.hpp"
#include "support/message_of.hpp"

namespace occam {
namespace {

using test::message_of;

std::string npy(const std::string& dictionary, const std::string& data, char version = 1) {
  std::string file = std::string("\x93NUMPY") + version + '\0';
  file += static_cast<char>(dictionary.size() & 0xFF);
  file += static_cast<char>(dictionary.size() >> 8);
  if (version > 1) file += std::string(2, '\0');
  return file + dictionary + data;
}

NpyArray parse(const std::string& file) { return parse_npy(std::as_bytes(std::span(file)), "a.npy"); }
std::string refusal(const std::string& file) {
  return message_of(ErrorKind::data, [&] { parse(file); });
}

const std::string kTwoFloats(8, '\0');

TEST(NpyHeader, IsReadInAnyOrderAndSpacing) {
  for (const char* text : {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n",
                           "{\"shape\":(2,),\"descr\":\"<f4\",\"fortran_order\":False}",
                           " { 'fortran_order' : False , 'shape' : ( 2 ) , 'descr' : '<f4' }   \n"}) {
    EXPECT_EQ(parse(npy(text, kTwoFloats)).shape, std::vector<std::int64_t>{2}) << text;
    EXPECT_EQ(parse(npy(text, kTwoFloats, 2)).size(), 2) << text;
    EXPECT_EQ(parse(npy(text, kTwoFloats, 3)).size(), 2) << text;
  }
}

TEST(NpyHeader, FortranOrderIsConverted) {
  const std::string data{1, 4, 2, 5, 3, 6};
  const NpyArray array = parse(npy("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }", data));
  EXPECT_THAT(array.values<std::uint8_t>(), testing::ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST(NpyErrors, NotAnNpy) {
  const std::string message = "a.npy: is no .npy array (its first bytes are wrong); write it with numpy.save";
  EXPECT_EQ(refusal(""), message);
  EXPECT_EQ(refusal("\x93NUMPY"), message);
  EXPECT_EQ(refusal("PK and so on, long enough"), message);
}

TEST(NpyErrors, Version) {
  EXPECT_EQ(refusal(npy("{}", "", 4)), "a.npy: .npy version 4 is not known; write it with numpy.save");
}

TEST(NpyErrors, HeaderCutOff) {
  const std::string file = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", kTwoFloats);
  for (const std::size_t size : {std::size_t{10}, std::size_t{11}, std::size_t{40}})
    EXPECT_EQ(refusal(file.substr(0, size)), "a.npy: the .npy header is cut off; write the file again");
}

TEST(NpyErrors, BrokenHeader) {
  for (const char* text :
       {"", "{", "{}", "{'descr': '<f4'}", "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)",
        "['descr']", "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 2}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (x,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", "{'descr: '<f4'}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 1}",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} and more"}) {
    const std::string message = refusal(npy(text, kTwoFloats));
    EXPECT_TRUE(message.starts_with("a.npy: the .npy header is broken near byte "))
        << text << ": " << message;
    EXPECT_TRUE(message.ends_with("; write the file again with numpy.save")) << message;
  }
}

TEST(NpyErrors, ShapeTooLarge) {
  EXPECT_EQ(refusal(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", "")),
            "a.npy: the .npy header's shape [4294967296, 4294967296] is too large");
}

TEST(NpyErrors, WrongNumberOfBytes) {
  const std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }";
  EXPECT_EQ(
      refusal(npy(header, "1234567")),
      "a.npy: float32 of shape [2, 1] needs 8 bytes of data, found 7; the file is damaged, write it again");
  EXPECT_EQ(
      refusal(npy(header, "123456789abc")),
      "a.npy: float32 of shape [2, 1] needs 8 bytes of data, found 12; the file is damaged, write it again");
}

TEST(NpyErrors, WrongType) {
  const NpyArray array = parse(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", kTwoFloats));
  EXPECT_EQ(message_of(ErrorKind::data, [&] { array.values<std::int32_t>(); }),
            "a.npy: the array is float32, expected int32; convert it with numpy's astype");
  EXPECT_EQ(message_of(ErrorKind::data, [&] { array.to_int64(); }),
            "a.npy: the array is float32, expected integers; convert it with numpy's astype");
}

}  // namespace
}  // namespace occam
