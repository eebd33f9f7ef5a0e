#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace longhaul {

// An invented document and a question that it alone answers.
struct ShelfDocument {
  std::string text;
  std::string question;
  std::string answer;  // stands in this document's text and in no other's, in whatever case
};

// Documents of about 200 tokens about invented people, towns, ships and libraries, of a few templates: each is a
// distractor for the questions about the others. The same seed gives the same documents, and a longer shelf begins with
// the shorter one. REQUIRES: n <= kMaxShelfDocuments.
std::vector<ShelfDocument> MakeShelf(int64_t seed, int64_t n);

inline constexpr int64_t kMaxShelfDocuments = 4096;

// The document that question `question` is about: each one once, and few questions are spread over the shelf too.
int64_t DocumentOf(int64_t question);

// The first of the n documents that are read for a question about `document`: one of the groups of n that the shelf
// falls into, so that most questions find their documents read before.
int64_t FirstBeside(int64_t document, int64_t n);

// How long a shelf must be for questions 0 to n_questions - 1 over n documents each.
int64_t ShelfLength(int64_t n_questions, int64_t n);

}  // namespace longhaul
