// SPDX-License-Identifier: Apache-2.0
#include "gguf/reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <utility>

#include "base/byte_reader.h"
#include "base/error.h"

namespace tandem {
namespace {

// A key, a type and one byte of value; a name, no dimensions, a type and an offset. Counts are
// held against these before anything is allocated.
constexpr uint64_t kSmallestEntry = 8 + 4 + 1;
constexpr uint64_t kSmallestTensorRecord = 8 + 4 + 4 + 8;
// Of all arrays of a file together: 16 times the three arrays of the Gemma vocabulary. Bounds
// what widening small numbers may allocate.
constexpr uint64_t kMaxArrayElements = uint64_t{1} << 24;

// Types of ggml (gguf-py constants.py) that are known by name but not read.
constexpr std::array<std::pair<uint32_t, std::string_view>, 24> kOtherTypes = {{
    {9, "q8_1"},     {10, "q2_k"},  {11, "q3_k"},   {15, "q8_k"},  {16, "iq2_xxs"}, {17, "iq2_xs"},
    {18, "iq3_xxs"}, {19, "iq1_s"}, {20, "iq4_nl"}, {21, "iq3_s"}, {22, "iq2_s"},   {23, "iq4_xs"},
    {25, "i16"},     {27, "i64"},   {28, "f64"},    {29, "iq1_m"}, {34, "tq1_0"},   {35, "tq2_0"},
    {39, "mxfp4"},   {40, "nvfp4"}, {41, "q1_0"},   {42, "q2_0"},  {4, "q4_2"},     {5, "q4_3"},
}};

[[noreturn]] void fail(uint64_t offset, std::string_view problem) {
  throw Error(ErrorCode::kInvalidFile, fmt::format("offset {}: {}", offset, problem));
}

// A name from the file, fit to be printed: short, and without control characters.
std::string quoted(std::string_view name) {
  constexpr size_t kShown = 64;
  std::string text(name.substr(0, kShown));
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return '"' + text + (name.size() > kShown ? "...\"" : "\"");
}

class Parser {
 public:
  explicit Parser(std::span<const std::byte> bytes) : bytes_(bytes), reader_(bytes) {}

  GgufContents parse() {
    read_version();
    const size_t counts_at = reader_.offset();
    const auto tensor_count = reader_.read<uint64_t>("the tensor count");
    const auto entry_count = reader_.read<uint64_t>("the metadata count");
    if (tensor_count > reader_.remaining() / kSmallestTensorRecord)
      fail(counts_at, fmt::format("{} tensors do not fit into the {} bytes that follow",
                                  tensor_count, reader_.remaining()));
    if (entry_count > reader_.remaining() / kSmallestEntry)
      fail(counts_at + 8,
           fmt::format("{} metadata entries do not fit into the {} bytes that follow", entry_count,
                       reader_.remaining()));
    for (uint64_t i = 0; i < entry_count; ++i) read_entry();
    read_alignment();
    refuse_split();
    for (uint64_t i = 0; i < tensor_count; ++i) read_tensor_record();
    place_tensors();
    return std::move(contents_);
  }

 private:
  void read_version() {
    const auto magic = reader_.take(4, "the magic number");
    const std::string_view text(reinterpret_cast<const char*>(magic.data()), magic.size());
    if (text != "GGUF") fail(0, fmt::format("not a GGUF file, it starts with {}", quoted(text)));
    const uint32_t version = reader_.read<uint32_t>("the version");
    if (version != 0 && (version & 0xFFFF) == 0)
      throw Error(ErrorCode::kUnsupported,
                  "big-endian GGUF files are not supported; convert it with gguf-convert-endian");
    if (version < 2 || version > 3)
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("GGUF version {} is not supported, only 2 and 3; convert the model "
                              "again with a current converter",
                              version));
    contents_.version = version;
  }

  std::string_view read_string(std::string_view what) {
    const auto size = reader_.read<uint64_t>(what);
    const auto bytes = reader_.take(size, what);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  void read_entry() {
    const size_t at = reader_.offset();
    const std::string_view key = read_string("a metadata key");
    if (key.empty() || key.size() > kGgufMaxKey)
      fail(at, fmt::format("a metadata key of {} bytes, 1 to {} are possible", key.size(),
                           kGgufMaxKey));
    const size_t value_at = reader_.offset();
    GgufValue value = read_value(key);
    contents_.entries.push_back({key, bytes_.subspan(value_at, reader_.offset() - value_at)});
    if (!contents_.metadata.emplace(key, std::move(value)).second)
      fail(at, fmt::format("metadata key {} appears twice", quoted(key)));
  }

  GgufValue read_value(std::string_view key) {
    const size_t at = reader_.offset();
    const std::string what = "the value of " + quoted(key);
    const auto type = static_cast<GgufValueType>(reader_.read<uint32_t>(what));
    switch (type) {
      case GgufValueType::kU8: return uint64_t{reader_.read<uint8_t>(what)};
      case GgufValueType::kI8: return int64_t{reader_.read<int8_t>(what)};
      case GgufValueType::kU16: return uint64_t{reader_.read<uint16_t>(what)};
      case GgufValueType::kI16: return int64_t{reader_.read<int16_t>(what)};
      case GgufValueType::kU32: return uint64_t{reader_.read<uint32_t>(what)};
      case GgufValueType::kI32: return int64_t{reader_.read<int32_t>(what)};
      case GgufValueType::kU64: return reader_.read<uint64_t>(what);
      case GgufValueType::kI64: return reader_.read<int64_t>(what);
      case GgufValueType::kF32: return double{reader_.read<float>(what)};
      case GgufValueType::kF64: return reader_.read<double>(what);
      case GgufValueType::kBool: return read_bool(what);
      case GgufValueType::kString: return read_string(what);
      case GgufValueType::kArray: return read_array(what);
    }
    fail(at,
         fmt::format("{} has type {}, which does not exist", what, static_cast<uint32_t>(type)));
  }

  bool read_bool(std::string_view what) {
    const size_t at = reader_.offset();
    const auto byte = reader_.read<uint8_t>(what);
    if (byte > 1) fail(at, fmt::format("{} is {}, a boolean is 0 or 1", what, byte));
    return byte == 1;
  }

  GgufArray read_array(std::string_view what) {
    const size_t at = reader_.offset();
    const auto type = static_cast<GgufValueType>(reader_.read<uint32_t>(what));
    const auto count = reader_.read<uint64_t>(what);
    if (count > kMaxArrayElements - array_elements_)
      fail(at, fmt::format("{} is an array of {} elements, more than a file may have ({})", what,
                           count, kMaxArrayElements));
    array_elements_ += count;
    switch (type) {
      case GgufValueType::kU8: return read_numbers<uint8_t, uint64_t>(count, what);
      case GgufValueType::kI8: return read_numbers<int8_t, int64_t>(count, what);
      case GgufValueType::kU16: return read_numbers<uint16_t, uint64_t>(count, what);
      case GgufValueType::kI16: return read_numbers<int16_t, int64_t>(count, what);
      case GgufValueType::kU32: return read_numbers<uint32_t, uint64_t>(count, what);
      case GgufValueType::kI32: return read_numbers<int32_t, int64_t>(count, what);
      case GgufValueType::kU64: return read_numbers<uint64_t, uint64_t>(count, what);
      case GgufValueType::kI64: return read_numbers<int64_t, int64_t>(count, what);
      case GgufValueType::kF32: return read_numbers<float, double>(count, what);
      case GgufValueType::kF64: return read_numbers<double, double>(count, what);
      case GgufValueType::kBool: return read_bools(count, what);
      case GgufValueType::kString: return read_strings(count, what);
      case GgufValueType::kArray:
        throw Error(
            ErrorCode::kUnsupported,
            fmt::format("offset {}: {} is an array of arrays, which is not supported", at, what));
    }
    fail(at, fmt::format("{} is an array of type {}, which does not exist", what,
                         static_cast<uint32_t>(type)));
  }

  template <typename Stored, typename Wide>
  std::vector<Wide> read_numbers(uint64_t count, std::string_view what) {
    const auto bytes = reader_.take(count * sizeof(Stored), what);
    std::vector<Wide> values(static_cast<size_t>(count));
    for (size_t i = 0; i < values.size(); ++i) {
      Stored value;
      std::memcpy(&value, bytes.data() + i * sizeof(Stored), sizeof(Stored));
      values[i] = static_cast<Wide>(value);  // NOLINT(bugprone-signed-char-misuse): a number
    }
    return values;
  }

  std::vector<bool> read_bools(uint64_t count, std::string_view what) {
    if (count > reader_.remaining()) reader_.take(count, what);  // throws
    std::vector<bool> values(static_cast<size_t>(count));
    for (size_t i = 0; i < values.size(); ++i) values[i] = read_bool(what);
    return values;
  }

  std::vector<std::string_view> read_strings(uint64_t count, std::string_view what) {
    if (count > reader_.remaining() / 8) reader_.take(count * 8, what);  // throws
    std::vector<std::string_view> values(static_cast<size_t>(count));
    for (std::string_view& value : values) value = read_string(what);
    return values;
  }

  // The unsigned value of a key that the container format itself defines.
  uint64_t container_value(std::string_view key, uint64_t fallback) const {
    const auto row = contents_.metadata.find(key);
    if (row == contents_.metadata.end()) return fallback;
    if (const auto* value = std::get_if<uint64_t>(&row->second)) return *value;
    fail(offset_of(key), fmt::format("{} is no unsigned integer", quoted(key)));
  }

  uint64_t offset_of(std::string_view key) const {
    const auto row = std::find_if(contents_.entries.begin(), contents_.entries.end(),
                                  [&](const GgufEntry& e) { return e.key == key; });
    return static_cast<uint64_t>(row->bytes.data() - bytes_.data());
  }

  void read_alignment() {
    constexpr std::string_view kKey = "general.alignment";
    alignment_ = container_value(kKey, kGgufDefaultAlignment);
    // 8 suffices for every element type; ggml too wants a power of two.
    if (alignment_ < 8 || alignment_ > (1u << 30) || !std::has_single_bit(alignment_))
      fail(offset_of(kKey), fmt::format("alignment {} is no power of two from 8", alignment_));
  }

  void refuse_split() const {
    const uint64_t parts = container_value("split.count", 1);
    if (parts > 1)
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("this is one of {} parts of a split model, which is not supported; "
                              "join them with llama-gguf-split --merge",
                              parts));
  }

  void read_tensor_record() {
    const size_t at = reader_.offset();
    GgufTensor tensor;
    tensor.name = read_string("a tensor's name");
    if (tensor.name.size() > kGgufMaxTensorName)
      fail(at, fmt::format("tensor {} has a name of {} bytes, {} are possible", quoted(tensor.name),
                           tensor.name.size(), kGgufMaxTensorName));
    const std::string what = "tensor " + quoted(tensor.name);
    const uint64_t element_count = read_dims(tensor, what);
    tensor.dtype = read_type(what);
    const DTypeInfo& info = dtype_info(tensor.dtype);
    if (tensor.dims[0] % info.block_count != 0)
      fail(at, fmt::format("{} has rows of {} elements, no whole {} blocks of {}", what,
                           tensor.dims[0], info.name, info.block_count));
    // element_count is at most 2^60 and the largest element takes 4 bytes.
    const uint64_t size = element_count / info.block_count * info.block_size;
    const size_t offset_at = reader_.offset();
    tensor.offset = reader_.read<uint64_t>(what);
    if (tensor.offset % alignment_ != 0)
      fail(offset_at, fmt::format("{} starts at {}, no multiple of the alignment {}", what,
                                  tensor.offset, alignment_));
    records_.push_back({offset_at, size});
    if (!contents_.tensor_index.emplace(tensor.name, contents_.tensors.size()).second)
      fail(at, fmt::format("{} appears twice", what));
    contents_.tensors.push_back(tensor);
  }

  // Returns the number of elements, at most 2^60.
  uint64_t read_dims(GgufTensor& tensor, std::string_view what) {
    const size_t at = reader_.offset();
    const auto count = reader_.read<uint32_t>(what);
    if (count < 1 || count > kGgufMaxDims)
      fail(at,
           fmt::format("{} has {} dimensions, 1 to {} are possible", what, count, kGgufMaxDims));
    uint64_t elements = 1;
    for (uint32_t i = 0; i < count; ++i) {
      const size_t dim_at = reader_.offset();
      const auto dim = reader_.read<uint64_t>(what);
      if (dim < 1 || dim > std::numeric_limits<uint32_t>::max())
        fail(dim_at,
             fmt::format("{} has a dimension of {}, 1 to 4294967295 are possible", what, dim));
      if (elements > (uint64_t{1} << 60) / dim)
        fail(dim_at, fmt::format("{} has more than 2^60 elements", what));
      elements *= dim;
      tensor.dims[i] = dim;
    }
    return elements;
  }

  DType read_type(std::string_view what) {
    const size_t at = reader_.offset();
    const auto type = reader_.read<uint32_t>(what);
    if (const DTypeInfo* info = find_gguf_type(type)) return info->dtype;
    const auto* other = std::find_if(kOtherTypes.begin(), kOtherTypes.end(),
                                     [&](const auto& row) { return row.first == type; });
    if (other == kOtherTypes.end())
      fail(at, fmt::format("{} has type {}, which is unknown", what, type));
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{} has type {}, which is not supported; use a file of another "
                            "quantisation, such as Q4_0 or Q4_K_M",
                            what, other->second));
  }

  // Turns offsets within the data section into offsets in the file and bytes, checked.
  void place_tensors() {
    if (contents_.tensors.empty()) return;
    const uint64_t data_start = (reader_.offset() + alignment_ - 1) / alignment_ * alignment_;
    const uint64_t available = bytes_.size() > data_start ? bytes_.size() - data_start : 0;
    for (size_t i = 0; i < contents_.tensors.size(); ++i) {
      GgufTensor& tensor = contents_.tensors[i];
      const auto [record_at, size] = records_[i];
      if (tensor.offset > available || size > available - tensor.offset)
        fail(record_at,
             fmt::format("tensor {} of {} bytes at {} of the data reaches past the end of the "
                         "file; the data has {} bytes, the file may be incomplete",
                         quoted(tensor.name), size, tensor.offset, available));
      tensor.offset += data_start;
      tensor.data = bytes_.subspan(static_cast<size_t>(tensor.offset), static_cast<size_t>(size));
    }
    refuse_overlaps();
  }

  void refuse_overlaps() const {
    std::vector<size_t> order(contents_.tensors.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return contents_.tensors[a].offset < contents_.tensors[b].offset;
    });
    for (size_t i = 1; i < order.size(); ++i) {
      const GgufTensor& before = contents_.tensors[order[i - 1]];
      const GgufTensor& after = contents_.tensors[order[i]];
      if (after.offset < before.offset + before.data.size())
        fail(records_[order[i]].offset_at,
             fmt::format("tensor {} overlaps tensor {}", quoted(after.name), quoted(before.name)));
    }
  }

  // Where a tensor's record says its offset, and the bytes that its shape asks for.
  struct Record {
    uint64_t offset_at;
    uint64_t size;
  };

  std::span<const std::byte> bytes_;
  ByteReader reader_;
  GgufContents contents_;
  std::vector<Record> records_;
  uint64_t alignment_ = kGgufDefaultAlignment;
  uint64_t array_elements_ = 0;
};

}  // namespace

GgufContents read_gguf(std::span<const std::byte> bytes) { return Parser(bytes).parse(); }

}  // namespace tandem
