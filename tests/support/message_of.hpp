// What a call that must fail says.
#pragma once

#include <string>

#include <gtest/gtest.h>

#include "occam/error.hpp"

namespace occam::test {

// The one-line message of the Error that `call` throws, which must be of this kind; "no error" if none is.
template <class Call>
std::string message_of(ErrorKind kind, const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    return error.what();
  }
  return "no error";
}

}  // namespace occam::test
