#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace longhaul {

// Makes broken files out of a sound GGUF file. Mutant n is a pure function of the file and n.
class Mutator {
 public:
  // REQUIRES: `seed` is a sound GGUF file, version 3.
  explicit Mutator(std::vector<std::byte> seed);

  // One to three changes: bits, bytes, numbers of the header, letters, cuts and splices. In 9 of 10 the file still
  // begins with the magic.
  std::vector<std::byte> Mutant(uint64_t n) const;

 private:
  // A number in the header.
  struct Field {
    size_t at;
    size_t bytes;
  };

  void Change(std::vector<std::byte>& file, std::mt19937_64& random) const;
  void ChangeNumber(std::vector<std::byte>& file, const Field& field, std::mt19937_64& random) const;

  std::vector<std::byte> seed_;
  std::vector<Field> structure_;  // counts, lengths, types, dimensions, offsets
  std::vector<Field> values_;     // of metadata
  std::vector<size_t> letters_;   // positions of the bytes of keys, names and strings
  size_t header_bytes_ = 0;
};

}  // namespace longhaul
