#include "tests/fuzz/mutator.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

namespace longhaul {
namespace {

// A number of [0, bound). The standard distributions differ between libraries, this does not.
uint64_t Below(std::mt19937_64& random, uint64_t bound) {
  return bound == 0 ? 0 : random() % bound;
}

template <typename T, size_t n>
T OneOf(std::mt19937_64& random, const T (&choices)[n]) {
  return choices[Below(random, n)];
}

// Bytes of a plain value of GGUF, by its type number.
constexpr size_t kValueBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
constexpr uint32_t kString = 8, kArray = 9;

}  // namespace

Mutator::Mutator(std::vector<std::byte> seed) : seed_(std::move(seed)) {
  size_t at = 4;
  const auto number = [&](size_t bytes) {
    structure_.push_back({at, bytes});
    uint64_t value = 0;
    std::memcpy(&value, seed_.data() + at, bytes);
    at += bytes;
    return value;
  };
  const auto text = [&] {
    for (uint64_t left = number(8); left > 0; --left) letters_.push_back(at++);
  };
  const auto value = [&](uint64_t type) {
    if (type == kString) {
      text();
    } else {
      values_.push_back({at, kValueBytes[type]});
      at += kValueBytes[type];
    }
  };
  number(4);  // version
  const uint64_t n_tensors = number(8), n_values = number(8);
  for (uint64_t i = 0; i < n_values; ++i) {
    text();
    const uint64_t type = number(4);
    if (type != kArray) {
      value(type);
      continue;
    }
    const uint64_t element_type = number(4);
    for (uint64_t left = number(8); left > 0; --left) value(element_type);
  }
  for (uint64_t i = 0; i < n_tensors; ++i) {
    text();
    for (uint64_t left = number(4); left > 0; --left) number(8);
    number(4);
    number(8);
  }
  header_bytes_ = at;
}

std::vector<std::byte> Mutator::Mutant(uint64_t n) const {
  std::mt19937_64 random(n);
  std::vector<std::byte> file = seed_;
  for (uint64_t changes = 1 + Below(random, 3); changes > 0; --changes) Change(file, random);
  const bool keep_magic = Below(random, 10) != 0;
  for (size_t i = 0; i < 4 && i < file.size(); ++i) {
    if (keep_magic) file[i] = seed_[i];
  }
  if (!keep_magic && !file.empty()) file[Below(random, std::min<size_t>(4, file.size()))] ^= std::byte{0x20};
  return file;
}

void Mutator::Change(std::vector<std::byte>& file, std::mt19937_64& random) const {
  if (file.empty()) return;
  const size_t anywhere = Below(random, 4) == 0 ? file.size() : std::min(file.size(), header_bytes_);
  const auto position = [&] { return Below(random, anywhere); };
  switch (Below(random, 9)) {
    case 0:  // bits
      for (uint64_t left = 1 + Below(random, 4); left > 0; --left) {
        file[position()] ^= static_cast<std::byte>(1 << Below(random, 8));
      }
      break;
    case 1: {  // a byte
      static constexpr uint8_t kEdges[] = {0, 1, 0x7f, 0x80, 0xff, '\n', ' ', 'x'};
      file[position()] = static_cast<std::byte>(OneOf(random, kEdges));
      break;
    }
    case 2:
      ChangeNumber(file, structure_[Below(random, structure_.size())], random);
      break;
    case 3:
      ChangeNumber(file, values_[Below(random, values_.size())], random);
      break;
    case 4:
    case 5: {  // a letter
      const size_t at = letters_[Below(random, letters_.size())];
      if (at < file.size()) file[at] = static_cast<std::byte>(Below(random, 256));
      break;
    }
    case 6:  // truncation
      file.resize(Below(random, 2) == 0 ? Below(random, file.size()) : file.size() - Below(random, 64) % file.size());
      break;
    case 7: {  // a section over another one
      const size_t length = Below(random, std::min<size_t>(256, file.size()));
      const size_t from = Below(random, file.size() - length), to = Below(random, file.size() - length);
      std::memmove(file.data() + to, file.data() + from, length);
      break;
    }
    default: {  // a section cut out, or put in once more
      const size_t length = Below(random, std::min<size_t>(256, file.size()));
      const auto begin = file.begin() + static_cast<std::ptrdiff_t>(Below(random, file.size() - length));
      const auto end = begin + static_cast<std::ptrdiff_t>(length);
      if (Below(random, 2) == 0) {
        file.erase(begin, end);
      } else {
        const std::vector<std::byte> section(begin, end);
        file.insert(end, section.begin(), section.end());
      }
    }
  }
}

// An edge value, or one close to what it was.
void Mutator::ChangeNumber(std::vector<std::byte>& file, const Field& field, std::mt19937_64& random) const {
  if (field.at + field.bytes > file.size()) return;
  const uint64_t edges[] = {0,
                            1,
                            2,
                            3,
                            31,
                            255,
                            65536,
                            1u << 20,
                            0x7fffffff,
                            0x80000000,
                            0xffffffff,
                            uint64_t{1} << 32,
                            uint64_t{1} << 61,
                            uint64_t{1} << 63,
                            ~uint64_t{0},
                            ~uint64_t{0} - 7,
                            0x7fc00000,  // not a number, as float
                            0x7f800000,  // infinity
                            file.size(),
                            file.size() - 1,
                            header_bytes_};
  uint64_t value = 0;
  std::memcpy(&value, file.data() + field.at, field.bytes);
  switch (Below(random, 3)) {
    case 0:
      value = value - 3 + Below(random, 7);
      break;
    case 1:
      value = Below(random, 2) == 0 ? value * 2 : value / 2;
      break;
    default:
      value = OneOf(random, edges);
  }
  std::memcpy(file.data() + field.at, &value, field.bytes);
}

}  // namespace longhaul
