// Element types, views, shared memory and arenas.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "tensor/dtype.h"
#include "tensor/shared_memory.h"
#include "tensor/tensor_view.h"

namespace tandem {
namespace {

TEST(DType, TableIsInTheOrderOfTheEnumeration) {
  for (const DTypeInfo& info : dtype_infos()) {
    EXPECT_EQ(&dtype_info(info.dtype), &info);
    EXPECT_EQ(find_dtype(info.name), &info);
    EXPECT_EQ(find_gguf_type(static_cast<uint32_t>(info.gguf_type)), &info);
  }
  EXPECT_EQ(dtype_infos().size(), static_cast<size_t>(DType::kQ6K) + 1);
}

TEST(DType, NameIsFoundInAnyCase) {
  ASSERT_NE(find_dtype("Q4_K"), nullptr);
  EXPECT_EQ(find_dtype("Q4_K")->dtype, DType::kQ4K);
  EXPECT_EQ(find_dtype("q4_9"), nullptr);
  EXPECT_EQ(find_gguf_type(4), nullptr);  // a number the format has withdrawn
}

TEST(DType, SizeCountsWholeBlocks) {
  EXPECT_EQ(dtype_size(DType::kF16, 3), 6u);
  EXPECT_EQ(dtype_size(DType::kQ4_0, 64), 36u);
  EXPECT_EQ(dtype_size(DType::kQ6K, 512), 420u);
  EXPECT_DEATH(dtype_size(DType::kQ4_0, 33), "33 elements are no whole blocks of 32");
}

TEST(TensorView, RowsFollowTheStrides) {
  SharedMemory memory(4096, "a test");
  TensorView view{&memory, 64, DType::kF32, {2, 3, 4}, {256, 32}};
  EXPECT_EQ(view.row(1, 2), memory.data() + 64 + 256 + 64);
  EXPECT_EQ(view.row_as<float>(1), reinterpret_cast<float*>(memory.data() + 64 + 32));
  EXPECT_EQ(view.size(), 256u + 2 * 32 + 16);
  EXPECT_EQ(view.element_count(), 24u);
}

TEST(TensorView, SliceOfRowsKeepsPlanes) {
  SharedMemory memory(4096, "a test");
  const TensorView view{&memory, 0, DType::kF32, {2, 8, 4}, {256, 16}};
  const TensorView slice = view.slice_rows(3, 2);
  EXPECT_EQ(slice.rows(), 2u);
  EXPECT_EQ(slice.row(1, 0), view.row(1, 3));
  EXPECT_DEATH(view.slice_rows(7, 2), "rows \\[7, 9\\) of 8");
}

TEST(TensorView, SliceOfColumnsTakesWholeBlocks) {
  std::byte bytes[36] = {};
  const TensorView view = view_of_bytes(bytes, DType::kQ4_0, {1, 1, 64});
  EXPECT_EQ(view.slice_cols(32, 32).data(), bytes + 18);
  EXPECT_DEATH(view.slice_cols(16, 32), "whole blocks");
  EXPECT_DEATH(view.slice_cols(32, 64), "columns");
}

TEST(SharedMemory, IsZeroedAndPageAligned) {
  SharedMemory memory(10000, "a test");
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory.data()) % 4096, 0u);
  EXPECT_EQ(memory.host().size(), 10000u);
  const auto host = memory.host();
  EXPECT_TRUE(std::all_of(host.begin(), host.end(), [](std::byte b) { return b == std::byte{0}; }));
}

TEST(SharedMemory, TooMuchIsAnErrorThatNamesThePurpose) {
  try {
    SharedMemory memory(size_t{1} << 60, "key-value cache");
    FAIL() << "an exbibyte was mapped";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kOutOfMemory);
    EXPECT_NE(std::string_view(error.what()).find("key-value cache"), std::string_view::npos);
  }
}

// Counts the imports alive.
class CountingDevice : public Importer {
 public:
  class Handle : public Import {
   public:
    explicit Handle(int* alive) : alive_(alive) { ++*alive_; }
    ~Handle() override { --*alive_; }
    bool zero_copy() const override { return true; }
    void acquire(Access, size_t, size_t) override {}
    void release(Access, size_t, size_t) override {}

   private:
    int* alive_;
  };
  std::unique_ptr<Import> import(SharedMemory&) override {
    return std::make_unique<Handle>(&alive);
  }
  int alive = 0;
};

TEST(SharedMemory, IsImportedOncePerDeviceAndLetGoAtTheEnd) {
  CountingDevice first, second;
  {
    SharedMemory memory(4096, "a test");
    Import& import = memory.import_for(first);
    EXPECT_EQ(&memory.import_for(first), &import);
    EXPECT_NE(&memory.import_for(second), &import);
    EXPECT_EQ(first.alive, 1);
    EXPECT_EQ(second.alive, 1);
  }
  EXPECT_EQ(first.alive, 0);
  EXPECT_EQ(second.alive, 0);
}

TEST(Arena, PiecesAreAlignedAndApart) {
  SharedMemory memory(1024, "a test");
  Arena arena(memory);
  const TensorView a = arena.allocate(DType::kF32, {1, 3, 5});  // 60 bytes
  const TensorView b = arena.allocate(DType::kQ8_0, {2, 1, 32});
  EXPECT_EQ(a.offset % 64, 0u);
  EXPECT_EQ(b.offset % 64, 0u);
  EXPECT_GE(b.offset, a.offset + a.size());
  EXPECT_EQ(a.row(0, 1), a.row(0, 0) + 20);
  EXPECT_EQ(b.row(1, 0), b.row(0, 0) + 34);
  EXPECT_EQ(arena.used(),
            Arena::size_of(DType::kF32, {1, 3, 5}) + Arena::size_of(DType::kQ8_0, {2, 1, 32}));
}

TEST(Arena, FullArenaIsAnError) {
  SharedMemory memory(128, "a test");
  Arena arena(memory);
  arena.allocate(DType::kF32, {1, 1, 32});
  EXPECT_THROW(arena.allocate(DType::kF32, {1, 1, 1}), Error);
}

}  // namespace
}  // namespace tandem
