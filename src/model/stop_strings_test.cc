// SPDX-License-Identifier: Apache-2.0
#include "model/stop_strings.h"

#include <gtest/gtest.h>

#include "model/test_vocabulary.h"

namespace tandem {
namespace {

struct Case {
  const char* what;
  std::vector<std::string> stops;
  std::string text;
  std::string expected;
  bool stopped;
};

const Case kCases[] = {
    {"no stop strings", {}, "some text", "some text", false},
    {"absent", {"END"}, "some text", "some text", false},
    {"cut before it", {"END"}, "some END text", "some ", true},
    {"at the start", {"END"}, "END", "", true},
    {"at the very end", {"END"}, "text END", "text ", true},
    {"only its start", {"END"}, "text EN", "text EN", false},
    {"a false start", {"END"}, "EENENDE", "EEN", true},
    {"overlaps itself", {"aab"}, "aaaaab", "aaa", true},
    {"the first of several", {"two", "one"}, "a one two", "a ", true},
    {"the first that is complete", {"abcd", "bc"}, "xabcd", "xa", true},
    {"the longest complete at one place", {"b", "aab", "ab"}, "xaab", "x", true},
    {"in the middle of characters", {"\xC3"}, "n\xC3\xA9", "n", true},
};

TEST(StopStrings, CutTheTextHoweverItIsDivided) {
  for (const Case& c : kCases) {
    // Every way to divide the text in three.
    for (size_t i = 0; i <= c.text.size(); ++i)
      for (size_t j = i; j <= c.text.size(); ++j) {
        StopStrings stops(c.stops);
        std::string got;
        got += stops.feed(std::string_view(c.text).substr(0, i));
        got += stops.feed(std::string_view(c.text).substr(i, j - i));
        got += stops.feed(std::string_view(c.text).substr(j));
        got += stops.flush();
        EXPECT_EQ(got, c.expected) << c.what << ", divided at " << i << " and " << j;
        EXPECT_EQ(stops.stopped(), c.stopped) << c.what;
      }
  }
}

TEST(StopStrings, HoldBackOnlyWhatMayBecomeOne) {
  StopStrings stops({"END", "NO"});
  EXPECT_EQ(stops.feed("text E"), "text ");
  EXPECT_EQ(stops.feed("N"), "");
  EXPECT_EQ(stops.feed("x"), "ENx");
  EXPECT_EQ(stops.feed("EN"), "");
  EXPECT_EQ(stops.feed("O"), "E");
  EXPECT_TRUE(stops.stopped());
  EXPECT_EQ(stops.feed("more"), "");
  EXPECT_EQ(stops.flush(), "");
}

TEST(StopStrings, RefuseAnEmptyOne) {
  EXPECT_EQ(thrown_code([] { StopStrings stops({"a", ""}); }), ErrorCode::kUsage);
}

}  // namespace
}  // namespace tandem
