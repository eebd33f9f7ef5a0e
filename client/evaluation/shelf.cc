#include "client/evaluation/shelf.h"

#include <algorithm>
#include <array>
#include <random>
#include <set>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace longhaul {
namespace {

constexpr int64_t kGroup = 64;   // questions go over the shelf group by group
constexpr int64_t kStride = 23;  // prime to it

enum class Value { kName, kNumber };

// {s} is the document's subject, {v} the answer, [a|b] one of a and b.
struct Fact {
  Value value;
  const char* sentence;
  const char* question;
};

struct Kind {
  int names;  // of the subject
  const char* opening;
  std::array<Fact, 6> facts;
  std::array<const char*, 4> others;
};

constexpr std::array<Kind, 4> kKinds = {{
    {2,
     "{s} was a [watchmaker|botanist|composer|cartographer|glassblower] who is remembered in the "
     "[north|south|east|west] "
     "of the country.",
     {{{Value::kName, "{s} was born in the village of {v}, in a house beside the [mill|church|market].",
        "In which village was {s} born?"},
       {Value::kName, "The teacher of {s} was {v}, a [strict|patient|quiet] master from the [coast|hills|capital].",
        "Who was the teacher of {s}?"},
       {Value::kName, "{s} married {v} after [two|three|five] years of letters.", "Whom did {s} marry?"},
       {Value::kNumber, "When the house was cleared, {v} drawings by {s} were found in the [attic|cellar|stable].",
        "How many drawings by {s} were found?"},
       {Value::kName, "The best known work of {s} is called {v}, and it is kept in a [museum|school|town hall].",
        "What is the best known work of {s} called?"},
       {Value::kName, "{s} owned a [grey|brown|white] dog by the name of {v}.",
        "What was the name of the dog that {s} owned?"}}},
     {"On [Sundays|market days|winter evenings] the neighbours came, and there was always [tea|soup|bread] for guests.",
      "Little is known about the first years, for most of the papers were lost in a [fire|flood|storm].",
      "Visitors praised the [careful|cheerful|modest] manner and the [steady|skilful|tireless] hands.",
      "In old age the [eyes|hands|knees] grew weak, yet the work went on every [morning|afternoon]."}},
    {1,
     "{s} is a town of [fishers|farmers|weavers|miners] in a [broad|narrow|green] valley [near the border|below the "
     "mountains|not far from the sea].",
     {{{Value::kName, "The town of {s} was founded by {v}, whose statue stands on the [square|hill|quay].",
        "Who founded the town of {s}?"},
       {Value::kName, "The river that flows through {s} is called the {v}, and it is [slow|cold|shallow].",
        "What is the river that flows through {s} called?"},
       {Value::kNumber, "At the last count {s} had {v} inhabitants, [more|fewer] than before.",
        "How many inhabitants did {s} have at the last count?"},
       {Value::kName, "The mayor of {s} is {v}, who was [a teacher|a baker|an engineer] before.",
        "Who is the mayor of {s}?"},
       {Value::kName, "Every [spring|summer|autumn] the people of {s} hold a feast in honour of {v}.",
        "In whose honour do the people of {s} hold a feast?"},
       {Value::kName, "The oldest inn of {s} is the {v}, which has [nine|twelve|twenty] rooms.",
        "What is the oldest inn of {s} called?"}}},
     {"The houses are built of [red brick|grey stone|dark wood], and most of them have a small [garden|yard|balcony].",
      "A [railway|canal|good road] leads to the capital, but in [winter|heavy rain] it is often closed.",
      "Travellers are fond of the [cheese|honey|smoked fish], which is sold at the market on [Tuesdays|Fridays].",
      "For [many|some] years there has been talk of a new [school|bridge|hospital], and nobody knows who would pay."}},
    {1,
     "The ship {s} was a [three-masted|two-masted|slender|heavy] vessel that carried [timber|wool|salt|grain] for [ten|"
     "twenty|thirty] years.",
     {{{Value::kName, "The ship {s} was built in the yard of {v}, of [oak|pine|larch] from the [north|south].",
        "In whose yard was the ship {s} built?"},
       {Value::kName, "The first captain of the ship {s} was {v}, who had a [wooden leg|loud voice|red beard].",
        "Who was the first captain of the ship {s}?"},
       {Value::kNumber, "On the first voyage the ship {s} carried {v} barrels, all of them [sound|new|well sealed].",
        "How many barrels did the ship {s} carry on the first voyage?"},
       {Value::kName, "The home port of the ship {s} was {v}, where [two|three|four] piers stand today.",
        "What was the home port of the ship {s}?"},
       {Value::kName, "In a [storm|fog] at night the ship {s} ran aground off the island of {v}.",
        "Off which island did the ship {s} run aground?"},
       {Value::kName, "The cook of the ship {s}, {v}, wrote a diary that was printed [later|twice].",
        "Who was the cook of the ship {s}?"}}},
     {"The sails were [brown|white|patched], and sailors said that she was [slow in light winds|hard to steer].",
      "Her crew was paid [every month|at the end of a voyage], and few of them stayed for more than [one|two] years.",
      "A model of her, made of [bone|cork|paper], hangs in a [chapel|tavern|classroom] on the coast.",
      "In calm weather the men mended [nets|ropes|clothes] on deck and sang about the [moon|wind|girls] at home."}},
    {1,
     "The {s} Library is a [small|quiet|famous|private] house of books with a [round|long|bright] reading room and a "
     "[garden|tower|fountain].",
     {{{Value::kName, "The architect of the {s} Library was {v}, who [won a prize|asked no money] for it.",
        "Who was the architect of the {s} Library?"},
       {Value::kNumber, "The {s} Library holds {v} books, which are lent for [two|three|four] weeks.",
        "How many books does the {s} Library hold?"},
       {Value::kName, "The head of the {s} Library is {v}, a [historian|poet|chemist] by training.",
        "Who is the head of the {s} Library?"},
       {Value::kName, "The {s} Library stands in {v} Street, opposite a [bank|bakery|theatre].",
        "In which street does the {s} Library stand?"},
       {Value::kName, "The rarest book of the {s} Library is the {v} Atlas, bound in [leather|silk|linen].",
        "What is the rarest book of the {s} Library?"},
       {Value::kName, "The money for the {s} Library came from {v}, who had made a fortune with [soap|buttons|glass].",
        "From whom did the money for the {s} Library come?"}}},
     {"Children come in the [morning|afternoon] to hear stories, and there is a [lamp|blanket|cushion] for everyone.",
      "The roof was repaired after [hail|a fire|heavy snow], and some shelves still smell of [smoke|paint|dust].",
      "It is closed on [Mondays|Wednesdays], and in [July|August|January] it opens at noon only.",
      "A [cat|clock|globe] near the entrance is older than most of the readers, as they like to [say|joke]."}},
}};

// Draws what differs from document to document.
class Author {
 public:
  explicit Author(int64_t seed) : draw_(static_cast<uint64_t>(seed)) {
    for (const Kind& kind : kKinds) {
      absl::StrAppend(&templates_, kind.opening, " ", absl::StrJoin(kind.others, " "));
      for (const Fact& fact : kind.facts) absl::StrAppend(&templates_, " ", fact.sentence);
    }
    absl::AsciiStrToLower(&templates_);
  }

  ShelfDocument Write(const Kind& kind) {
    std::string subject = Draw(Value::kName);
    for (int i = 1; i < kind.names; ++i) absl::StrAppend(&subject, " ", Draw(Value::kName));
    ShelfDocument document;
    const size_t asked = Below(kind.facts.size());
    std::vector<std::string> sentences;
    for (size_t i = 0; i < kind.facts.size(); ++i) {
      const Fact& fact = kind.facts[i];
      const std::string value = Draw(fact.value);
      sentences.push_back(Fill(fact.sentence, subject, value));
      if (i != asked) continue;
      document.question = Fill(fact.question, subject, "");
      document.answer = value;
    }
    for (const char* other : kind.others) sentences.push_back(Fill(other, subject, ""));
    for (size_t i = sentences.size(); i > 1; --i) std::swap(sentences[i - 1], sentences[Below(i)]);
    document.text = absl::StrCat(Fill(kind.opening, subject, ""), " ", absl::StrJoin(sentences, " "));
    return document;
  }

 private:
  // Not std::uniform_int_distribution, whose numbers each library draws in its own way.
  size_t Below(size_t n) { return static_cast<size_t>(draw_() % n); }

  // Never the same one twice. All names have seven letters and all numbers four digits, so that none is a part of
  // another, and none stands in a template.
  std::string Draw(Value value) {
    constexpr std::string_view kConsonants = "bdfgklmnprstvz", kVowels = "aeiou", kEnds = "klmnrstx";
    for (;;) {
      std::string drawn;
      if (value == Value::kNumber) {
        drawn = std::to_string(1000 + Below(9000));
      } else {
        for (int i = 0; i < 3; ++i) {
          drawn += kConsonants[Below(kConsonants.size())];
          drawn += kVowels[Below(kVowels.size())];
        }
        drawn += kEnds[Below(kEnds.size())];
      }
      if (templates_.find(drawn) != std::string::npos || !used_.insert(drawn).second) continue;
      drawn[0] = absl::ascii_toupper(static_cast<unsigned char>(drawn[0]));
      return drawn;
    }
  }

  std::string Fill(std::string_view sentence, const std::string& subject, const std::string& value) {
    std::string text;
    for (;;) {
      const size_t open = sentence.find('[');
      text += sentence.substr(0, open);
      if (open == std::string_view::npos) break;
      const size_t close = sentence.find(']', open);
      const std::vector<std::string> choices =
          absl::StrSplit(std::string(sentence.substr(open + 1, close - open - 1)), '|');
      text += choices[Below(choices.size())];
      sentence.remove_prefix(close + 1);
    }
    return absl::StrReplaceAll(text, {{"{s}", subject}, {"{v}", value}});
  }

  std::mt19937_64 draw_;
  std::string templates_;  // lower case
  std::set<std::string> used_;
};

}  // namespace

std::vector<ShelfDocument> MakeShelf(int64_t seed, int64_t n) {
  Author author(seed);
  std::vector<ShelfDocument> shelf;
  for (int64_t i = 0; i < n; ++i) shelf.push_back(author.Write(kKinds[static_cast<size_t>(i) % kKinds.size()]));
  return shelf;
}

int64_t DocumentOf(int64_t question) {
  return question / kGroup * kGroup + question % kGroup * kStride % kGroup;
}

int64_t FirstBeside(int64_t document, int64_t n) {
  return document / n * n;
}

int64_t ShelfLength(int64_t n_questions, int64_t n) {
  int64_t length = 0;
  for (int64_t q = 0; q < n_questions; ++q) length = std::max(length, FirstBeside(DocumentOf(q), n) + n);
  return length;
}

}  // namespace longhaul
