#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "longhaul/v1/inference.pb.h"

// What the command line prints.
namespace longhaul {

// 0 for OK; otherwise by the kind of error, as `longhaul --help` lists them.
int ExitCode(const absl::Status& status);

// "longhaul: MESSAGE" on standard error; with `json` an object. Returns ExitCode.
int PrintError(const absl::Status& status, bool json);

// One message of a stream as a JSON object on a line of its own.
void PrintJson(const v1::GenerateResponse& response);
void PrintJson(const v1::ScoreResponse& response);
void PrintJson(const v1::TokenizeResponse& response);
void PrintJson(const v1::DetokenizeResponse& response);
void PrintJson(const v1::GetModelResponse& response);

// The lines of `longhaul info`.
void PrintModel(const v1::GetModelResponse& model);

// Tokens, speed and reason of a finished answer, and how its positions were computed unless plainly; on standard error.
void PrintSummary(const v1::Started& started, const v1::Finished& finished);

// A token's bytes, quoted and printable.
std::string QuotePiece(std::string_view bytes);

}  // namespace longhaul
