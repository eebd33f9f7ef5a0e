#include "client/evaluation/table.h"

#include <gmock/gmock.h>

#include "client/evaluation/csv.h"

namespace longhaul {
namespace {

using ::testing::HasSubstr;

Cell CellOf(const std::string& position, int64_t length, double mean, double difference) {
  Cell cell;
  cell.position = position;
  cell.resolved = position + ":factor=2,x=1";
  cell.length = length;
  cell.value = {3, mean, 0.05};
  cell.difference = Estimate{3, difference, 0.004};
  return cell;
}

Identity TailLossIdentity() {
  Identity identity;
  identity.task = "tail-loss";
  identity.trained_length = 64;
  identity.score_tokens = 32;
  return identity;
}

std::vector<Cell> Cells() {
  std::vector<Cell> cells = {CellOf("none", 64, 3, 0), CellOf("none", 128, 7.25, 4.25), CellOf("ntk", 128, 2.9, -0.1)};
  cells[2].past_recommended = true;
  cells[1].value = {1, 7.25, std::nullopt};
  return cells;
}

TEST(Table, ShowsModesByLengths) {
  EXPECT_EQ(TableText(TailLossIdentity(), Cells(), {{"yarn", 128, "position.yarn: no"}}),
            "Tail loss: nat per token of the last 32 tokens, mean of 3 spans +- its standard error.\n"
            "Below it the difference to none at 64 tokens (the same text, truncated), paired by span.\n"
            "\n"
            "position  64               128\n"
            "none      3.0000 +-0.0500  7.2500 (1)\n"
            "          control          +4.2500 +-0.0040\n"
            "ntk       -                2.9000 +-0.0500 *\n"
            "                           -0.1000 +-0.0040\n"
            "yarn      -                refused [1]\n"
            "\n"
            "* longer than what the server recommends for the mode\n"
            "\n"
            "(n) of so many spans only\n"
            "\n"
            "[1] position.yarn: no\n");
}

TEST(Table, ShowsDepthsOfAPasskey) {
  Identity identity;
  identity.task = "passkey";
  Cell top = CellOf("none", 64, 1, 0), bottom = top;
  bottom.depth = 100;
  bottom.value.mean = 0.2;
  const std::string text = TableText(identity, {top, bottom}, {});
  EXPECT_THAT(text, HasSubstr("position  depth  64\n"));
  EXPECT_THAT(text, HasSubstr("none      100    0.2000 +-0.0500\n"));
}

TEST(Table, ShowsCitationsOfDocuments) {
  Identity identity;
  identity.task = "documents";
  Cell floor = CellOf("none", 0, 0, 0), few = CellOf("nbce", 16, 0.5, -0.25);
  few.cited = 0.75;
  few.value.n = 2;
  const std::string text = TableText(identity, {floor, few}, {});
  EXPECT_THAT(text, HasSubstr("share of 3 questions"));
  EXPECT_THAT(text, HasSubstr("nbce      -                0.5000 +-0.0500 (2)\n                           0.7500\n"));
  EXPECT_THAT(text, HasSubstr("(n) of so many questions only\n"));
}

TEST(Csv, HasALineForEachCell) {
  EXPECT_EQ(CsvText(TailLossIdentity(), {Cells()[2]}, {{"yarn", 128, "no, \"never\""}}),
            "task,position,resolved,length,depth,n,mean,standard_error,difference,difference_standard_error,first_copy,"
            "cited,reach,past_recommended,seconds,refused\n"
            "tail-loss,ntk,\"ntk:factor=2,x=1\",128,,3,2.900000,0.050000,-0.100000,0.004000,,,0,true,0.000,\n"
            "tail-loss,yarn,,128,,0,,,,,,,,,,\"no, \"\"never\"\"\"\n");
}

}  // namespace
}  // namespace longhaul
