#include "client/io/citation_output.h"

#include <algorithm>
#include <cstdio>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/terminal.h"

namespace longhaul {
namespace {

// Terminal colours 1 to 6, plain and bright: twelve documents in a row differ.
std::string Colour(uint32_t document) {
  const uint32_t n = document % 12;
  return absl::StrCat("\033[", n < 6 ? 31 + n : 91 + n - 6, "m");
}

// As it is printed on `stream`.
std::string NameOf(const std::vector<std::string>& names, size_t document, FILE* stream) {
  return document < names.size() ? ForTerminal(stream, names[document]) : absl::StrCat(document);
}

}  // namespace

CitedAnswer::CitedAnswer(const v1::GenerateRequest& request) : colours_(HasColours(stdout)) {
  for (const v1::Document& document : request.contexts().documents().documents()) names_.push_back(document.id());
}

void CitedAnswer::Start(const v1::Started& started) {
  for (const v1::Window& window : started.windows()) {
    names_.push_back(absl::StrCat("bytes ", window.first_byte(), " to ", window.first_byte() + window.bytes()));
  }
}

void CitedAnswer::Print(const v1::Chunk& chunk) {
  const std::string& text = chunk.text();
  if (text.empty()) return;
  if (chunk.has_citation() && current_ != chunk.citation().document()) {
    current_ = chunk.citation().document();
    if (colours_) {
      std::printf("%s", Colour(*current_).c_str());
    } else {
      absl::PrintF("[%s]%s", NameOf(names_, *current_, stdout), text.front() == ' ' ? "" : " ");
    }
  }
  PrintText(text);
  has_printed_ = true;
  std::fflush(stdout);
}

void CitedAnswer::End(bool whole) {
  if (colours_ && current_.has_value()) std::printf("\033[0m");
  if (whole || has_printed_) std::printf("\n");
  std::fflush(stdout);
}

void CitedAnswer::PrintDetails(const v1::Finished& finished) const {
  const auto& documents = finished.documents();
  std::vector<int> order(static_cast<size_t>(documents.size()));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return documents.Get(a).tokens() > documents.Get(b).tokens(); });
  uint64_t tokens = 0;
  for (const v1::DocumentUse& document : documents) tokens += document.tokens();
  const bool colours = HasColours(stderr) && HasColours(stdout);
  int silent = 0;
  for (int i : order) {
    const v1::DocumentUse& document = documents.Get(i);
    if (document.tokens() == 0) {
      ++silent;
      continue;
    }
    absl::FPrintF(stderr, "%s%5.1f %%  entropy %.3f  %s%s\n", colours ? Colour(static_cast<uint32_t>(i)) : "",
                  100 * static_cast<double>(document.tokens()) / static_cast<double>(tokens), document.mean_entropy(),
                  NameOf(names_, static_cast<size_t>(i), stderr), colours ? "\033[0m" : "");
  }
  if (silent > 0) std::fprintf(stderr, "%d other documents: no token\n", silent);
}

}  // namespace longhaul
