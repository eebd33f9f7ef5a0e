#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "tests/engine/engine_fixture.h"

namespace longhaul {

// What an answer from documents came to, token by token.
struct Cited {
  Outcome outcome;
  std::vector<size_t> documents;  // of each token
  std::vector<std::string> ids;
  std::vector<std::vector<float>> entropies;
};

inline Cited AskDocuments(Engine& engine, const GenerateParams& params) {
  Cited cited;
  const auto stream = Start(engine, params);
  while (std::optional<Event> event = stream->Next()) {
    if (auto* started = std::get_if<Started>(&*event)) cited.outcome.started = *started;
    if (auto* finished = std::get_if<Finished>(&*event)) cited.outcome.finished = *finished;
    auto* chunk = std::get_if<Chunk>(&*event);
    if (chunk == nullptr) continue;
    cited.outcome.text += chunk->text;
    EXPECT_TRUE(chunk->citation.has_value() || (chunk->text.empty() && chunk->tokens.empty()));
    for (const ChunkToken& token : chunk->tokens) {
      cited.outcome.ids.push_back(token.id);
      cited.outcome.logprobs.push_back(token.logprob.value_or(1));
      cited.documents.push_back(chunk->citation.has_value() ? chunk->citation->document : 999);
      cited.ids.push_back(chunk->citation.has_value() ? chunk->citation->id : "?");
    }
    cited.entropies.insert(cited.entropies.end(), chunk->entropies.begin(), chunk->entropies.end());
  }
  return cited;
}

// Rows that are exactly a document's ids and the question's.
inline GenerateParams AskIds(const std::vector<std::vector<TokenId>>& documents, const std::vector<TokenId>& question,
                             int64_t max_tokens) {
  GenerateParams params = Ask("", max_tokens);
  params.prompt = TokenPrompt{question};
  params.stopping.ignore_eos = true;
  params.output.entropies = true;
  params.contexts.emplace();
  params.contexts->document_template = "{document}{question}";
  std::vector<Document> source;
  for (size_t i = 0; i < documents.size(); ++i) source.push_back({std::to_string(i), documents[i]});
  params.contexts->source = source;
  return params;
}

}  // namespace longhaul
