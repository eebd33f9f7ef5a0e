#include "tests/support/fake_engine.h"

#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "engine/base/mix64.h"
#include "engine/text/byte_alphabet.h"

namespace longhaul {
namespace {

Vocabulary ByteVocabulary() {
  Vocabulary vocabulary;
  vocabulary.model = "gpt2";
  vocabulary.pre_tokenizer = "gpt-2";
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary.tokens.emplace_back(CharacterOfByte(static_cast<unsigned char>(byte)));
    vocabulary.kinds.push_back(TokenKind::kNormal);
  }
  for (const char* special : {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}) {
    vocabulary.tokens.emplace_back(special);
    vocabulary.kinds.push_back(TokenKind::kControl);
  }
  vocabulary.eos = kFakeEos;
  return vocabulary;
}

}  // namespace

std::vector<float> AlphabetLogits(std::span<const TokenId> text) {
  uint64_t hash = 0;
  for (TokenId token : text) hash = Mix64(hash + static_cast<uint64_t>(token) + 1);
  std::vector<float> logits(static_cast<size_t>(kFakeVocabulary));
  for (size_t id = 0; id < logits.size(); ++id) {
    logits[id] = static_cast<float>(Mix64(hash + id) >> 40) * 0x1p-24f;  // [0, 1)
  }
  const TokenId last = text.empty() ? 0 : text.back();
  const TokenId next = last == '.' ? kFakeEos : last >= 'a' && last < 'z' ? last + 1 : 'a';
  logits[static_cast<size_t>(next)] = 10;
  return logits;
}

FakeEngine::FakeEngine(EngineOptions options, FakeRunner::Options runner_options) {
  runner_options.vocabulary_size = kFakeVocabulary;
  if (!runner_options.logits) runner_options.logits = AlphabetLogits;
  EngineParts parts;
  parts.info.name = "fake";
  parts.info.vocabulary_size = kFakeVocabulary;
  parts.info.cache_tokens = runner_options.geometry.tokens();
  parts.info.block_tokens = runner_options.geometry.block_tokens;
  parts.encoder = PromptEncoder::Create(ByteVocabulary(), "chatml").value();
  ModelRotation rotation;
  rotation.rotary_dims = 8;
  rotation.trained_length = 512;
  parts.positions = std::make_unique<PositionResolver>(
      PositionResolver::Create(rotation, options.default_position, options.trained_length).value());
  auto fake = std::make_unique<FakeRunner>(std::move(runner_options), time);
  runner = fake.get();
  parts.runner = std::move(fake);
  parts.time = &time;
  engine = Engine::Create(options, std::move(parts)).value();
}

FakeEngine::~FakeEngine() {
  if (engine != nullptr) runner->Resume();  // or the engine's thread would stand there for ever
}

}  // namespace longhaul
