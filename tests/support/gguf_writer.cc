#include "tests/support/gguf_writer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/backend/cpu/half.h"
#include "engine/base/mix64.h"

namespace longhaul {
namespace {

template <typename T>
void Append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void AppendString(std::string& out, std::string_view text) {
  Append<uint64_t>(out, text.size());
  out.append(text);
}

template <typename T>
std::string Bytes(T value) {
  std::string out;
  Append(out, value);
  return out;
}

std::string ArrayHead(uint32_t element_type, uint64_t count) {
  return Bytes(element_type) + Bytes(count);
}

void Pad(std::string& out, uint64_t alignment) {
  while (out.size() % alignment != 0) out.push_back('\0');
}

// splitmix64
uint64_t NextRandom(uint64_t& state) {
  return Mix64(state += 0x9e3779b97f4a7c15ULL);
}

// One block of a type: random bits with small exponents and, for quantized types, small positive scales; or with the
// deviation that is asked for.
std::string RandomBlock(TensorType type, uint64_t& state, double deviation) {
  const TensorTypeInfo& info = Info(type);
  std::string block;
  while (static_cast<int64_t>(block.size()) < info.block_bytes) block.push_back(static_cast<char>(NextRandom(state)));
  const auto put = [&](size_t at, auto value) { std::memcpy(block.data() + at, &value, sizeof(value)); };
  const auto half = [&] { return static_cast<uint16_t>(0x2000 | (NextRandom(state) & 0x07ff)); };  // 2^-7 to 2^-5
  if (deviation > 0 && type == TensorType::kF32) {
    const double uniform = static_cast<double>(NextRandom(state) >> 11) * 0x1p-52 - 1;
    put(0, static_cast<float>(uniform * std::sqrt(3) * deviation));
    return block;
  }
  if (deviation > 0 && type == TensorType::kQ4_1) {
    // The sixteen values of a block, which are equally likely, deviate by 4.61 steps from the mean of 7.5.
    const auto step = static_cast<float>(deviation / 4.61);
    put(0, cpu::FloatToHalf(step));
    put(2, cpu::FloatToHalf(-7.5f * step));
    return block;
  }
  const uint16_t sign = static_cast<uint16_t>(NextRandom(state) & 0x8000);
  switch (type) {
    case TensorType::kF32:
      put(0, static_cast<float>(static_cast<int64_t>(NextRandom(state) % 2001) - 1000) / 2000.0f);
      break;
    case TensorType::kF16:
      put(0, static_cast<uint16_t>(0x2c00 | (NextRandom(state) & 0x0bff) | sign));
      break;
    case TensorType::kBF16:
      put(0, static_cast<uint16_t>(0x3d00 | (NextRandom(state) & 0x00ff) | sign));
      break;
    case TensorType::kQ4_0:
    case TensorType::kQ5_0:
    case TensorType::kIQ4_NL:
    case TensorType::kQ8_0:
      put(0, half());
      break;
    case TensorType::kQ4_1:
    case TensorType::kQ5_1:
    case TensorType::kQ4_K:
    case TensorType::kQ5_K:
      put(0, half());
      put(2, half());
      break;
    case TensorType::kQ6_K:
      put(208, half());
      break;
  }
  return block;
}

template <typename Items>
auto Named(Items& items, std::string_view name) {
  return std::find_if(items.begin(), items.end(), [&](const auto& item) {
    if constexpr (requires { item.key; }) {
      return item.key == name;
    } else {
      return item.name == name;
    }
  });
}

}  // namespace

void GgufWriter::SetRaw(std::string_view key, uint32_t type, std::string payload) {
  Value value{std::string(key), type, std::move(payload)};
  const auto found = Named(values_, key);
  if (found != values_.end()) {
    *found = std::move(value);
  } else {
    values_.push_back(std::move(value));
  }
}

void GgufWriter::SetUint32(std::string_view key, uint32_t value) {
  SetRaw(key, 4, Bytes(value));
}

void GgufWriter::SetUint64(std::string_view key, uint64_t value) {
  SetRaw(key, 10, Bytes(value));
}

void GgufWriter::SetInt32(std::string_view key, int32_t value) {
  SetRaw(key, 5, Bytes(value));
}

void GgufWriter::SetFloat32(std::string_view key, float value) {
  SetRaw(key, 6, Bytes(value));
}

void GgufWriter::SetBool(std::string_view key, bool value) {
  SetRaw(key, 7, Bytes(static_cast<uint8_t>(value)));
}

void GgufWriter::SetString(std::string_view key, std::string_view value) {
  std::string payload;
  AppendString(payload, value);
  SetRaw(key, 8, std::move(payload));
}

void GgufWriter::SetStrings(std::string_view key, const std::vector<std::string>& values) {
  std::string payload = ArrayHead(8, values.size());
  for (const std::string& value : values) AppendString(payload, value);
  SetRaw(key, 9, std::move(payload));
}

void GgufWriter::SetInt32s(std::string_view key, const std::vector<int32_t>& values) {
  std::string payload = ArrayHead(5, values.size());
  for (const int32_t value : values) Append(payload, value);
  SetRaw(key, 9, std::move(payload));
}

void GgufWriter::RemoveKey(std::string_view key) {
  std::erase_if(values_, [&](const Value& value) { return value.key == key; });
}

void GgufWriter::SetTensor(std::string_view name, std::vector<uint64_t> dims, uint32_t type, std::string data) {
  Tensor tensor{std::string(name), std::move(dims), type, std::move(data)};
  const auto found = Named(tensors_, name);
  if (found != tensors_.end()) {
    *found = std::move(tensor);
  } else {
    tensors_.push_back(std::move(tensor));
  }
}

void GgufWriter::SetRandomTensor(std::string_view name, std::vector<uint64_t> dims, TensorType type, uint64_t seed,
                                 double deviation) {
  uint64_t state = seed;
  for (const char c : name) state = state * 31 + static_cast<unsigned char>(c);
  uint64_t blocks = 1;
  for (const uint64_t dim : dims) blocks *= dim;
  blocks /= static_cast<uint64_t>(Info(type).block_elements);
  std::string data;
  for (uint64_t i = 0; i < blocks; ++i) data += RandomBlock(type, state, deviation);
  SetTensor(name, std::move(dims), static_cast<uint32_t>(type), std::move(data));
}

void GgufWriter::RemoveTensor(std::string_view name) {
  std::erase_if(tensors_, [&](const Tensor& tensor) { return tensor.name == name; });
}

std::vector<std::byte> GgufWriter::Build() const {
  GgufWriter with_alignment;
  const std::vector<Value>* values = &values_;
  if (alignment != 32) {
    with_alignment.values_ = values_;
    with_alignment.SetUint32("general.alignment", static_cast<uint32_t>(alignment));
    values = &with_alignment.values_;
  }
  std::string out = "GGUF";
  Append(out, version);
  Append<uint64_t>(out, tensors_.size());
  Append<uint64_t>(out, values->size());
  for (const Value& value : *values) {
    AppendString(out, value.key);
    Append(out, value.type);
    out += value.payload;
  }
  std::string data;
  for (const Tensor& tensor : tensors_) {
    AppendString(out, tensor.name);
    Append(out, static_cast<uint32_t>(tensor.dims.size()));
    for (const uint64_t dim : tensor.dims) Append(out, dim);
    Append(out, tensor.type);
    Pad(data, alignment);
    Append<uint64_t>(out, data.size());
    data += tensor.data;
  }
  Pad(out, alignment);
  out += data;
  std::vector<std::byte> bytes(out.size());
  std::memcpy(bytes.data(), out.data(), out.size());
  return bytes;
}

GgufWriter TinyModel(const TinyModelOptions& o) {
  GgufWriter writer;
  const auto key = [&](const char* name, int64_t value) { writer.SetUint32(name, static_cast<uint32_t>(value)); };
  const auto of_family = [&](const char* suffix, int64_t value) {
    writer.SetUint32(absl::StrCat(o.architecture, ".", suffix), static_cast<uint32_t>(value));
  };
  writer.SetString("general.architecture", o.architecture);
  of_family("block_count", o.n_layers);
  of_family("context_length", o.context_length);
  of_family("embedding_length", o.width);
  of_family("feed_forward_length", o.feed_forward_width);
  of_family("attention.head_count", o.n_heads);
  of_family("attention.head_count_kv", o.n_kv_heads);
  of_family("attention.key_length", o.head_dim);
  writer.SetFloat32(absl::StrCat(o.architecture, ".attention.layer_norm_rms_epsilon"), 1e-5f);

  std::vector<std::string> tokens = {"<e>"};
  std::vector<int32_t> kinds = {3};
  for (char letter = 'a'; letter <= 't'; ++letter) tokens.emplace_back(1, letter);
  for (const char* token : {"\u0120", "ab", "abc"}) tokens.emplace_back(token);  // U+0120 stands for the space
  for (size_t i = tokens.size(); i < static_cast<size_t>(o.vocabulary); ++i) tokens.push_back(absl::StrCat("x", i));
  kinds.resize(tokens.size(), 1);
  writer.SetString("tokenizer.ggml.model", "gpt2");
  writer.SetString("tokenizer.ggml.pre", "smollm");
  writer.SetStrings("tokenizer.ggml.tokens", tokens);
  writer.SetInt32s("tokenizer.ggml.token_type", kinds);
  writer.SetStrings("tokenizer.ggml.merges", {"a b", "ab c"});
  key("tokenizer.ggml.eos_token_id", 0);

  const auto tensor = [&](const std::string& name, int64_t rows, int64_t columns) {
    TensorType type = o.type(name);
    if (columns % Info(type).block_elements != 0) type = TensorType::kF16;
    writer.SetRandomTensor(name, {static_cast<uint64_t>(columns), static_cast<uint64_t>(rows)}, type, o.seed,
                           o.gain / std::sqrt(static_cast<double>(columns)));
  };
  const auto vector = [&](const std::string& name, int64_t elements) {
    writer.SetRandomTensor(name, {static_cast<uint64_t>(elements)}, TensorType::kF32, o.seed);
  };
  const auto norm = [&](const std::string& name) { vector(name, o.width); };
  const int64_t vocabulary = static_cast<int64_t>(tokens.size());
  tensor("token_embd.weight", vocabulary, o.width);
  for (int64_t layer = 0; layer < o.n_layers; ++layer) {
    const std::string prefix = absl::StrCat("blk.", layer, ".");
    norm(prefix + "attn_norm.weight");
    tensor(prefix + "attn_q.weight", o.n_heads * o.head_dim, o.width);
    tensor(prefix + "attn_k.weight", o.n_kv_heads * o.head_dim, o.width);
    tensor(prefix + "attn_v.weight", o.n_kv_heads * o.head_dim, o.width);
    if (o.architecture == "qwen2") {
      vector(prefix + "attn_q.bias", o.n_heads * o.head_dim);
      vector(prefix + "attn_k.bias", o.n_kv_heads * o.head_dim);
      vector(prefix + "attn_v.bias", o.n_kv_heads * o.head_dim);
    }
    if (o.architecture == "qwen3") {
      vector(prefix + "attn_q_norm.weight", o.head_dim);
      vector(prefix + "attn_k_norm.weight", o.head_dim);
    }
    tensor(prefix + "attn_output.weight", o.width, o.n_heads * o.head_dim);
    norm(prefix + "ffn_norm.weight");
    tensor(prefix + "ffn_gate.weight", o.feed_forward_width, o.width);
    tensor(prefix + "ffn_up.weight", o.feed_forward_width, o.width);
    tensor(prefix + "ffn_down.weight", o.width, o.feed_forward_width);
  }
  norm("output_norm.weight");
  if (!o.tied) tensor("output.weight", vocabulary, o.width);
  return writer;
}

GgufWriter SmallestModel(const std::string& architecture) {
  TinyModelOptions options{
      .architecture = architecture, .head_dim = 4, .feed_forward_width = 4, .vocabulary = 24, .context_length = 64};
  options.type = [](std::string_view name) {
    if (name.find("attn_q") != name.npos || name.find("ffn_up") != name.npos) return TensorType::kQ8_0;
    if (name.find("attn_v") != name.npos) return TensorType::kQ4_1;
    if (name.find("ffn_down") != name.npos) return TensorType::kBF16;
    return TensorType::kQ4_0;
  };
  GgufWriter writer = TinyModel(options);
  writer.alignment = 8;
  return writer;
}

}  // namespace longhaul
