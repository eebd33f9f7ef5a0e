#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns from the enclosing function when `expr`, an absl::Status, is not OK.
#define LH_RETURN_IF_ERROR(expr)                                               \
  do {                                                                         \
    if (absl::Status lh_status_ = (expr); !lh_status_.ok()) return lh_status_; \
  } while (false)

#define LH_CONCAT_INNER_(a, b) a##b
#define LH_CONCAT_(a, b) LH_CONCAT_INNER_(a, b)

// Evaluates `expr`, an absl::StatusOr<T>; returns its status, or moves its value into `lhs` (which may declare).
#define LH_ASSIGN_OR_RETURN(lhs, expr) LH_ASSIGN_OR_RETURN_(LH_CONCAT_(lh_status_or_, __LINE__), lhs, expr)
#define LH_ASSIGN_OR_RETURN_(tmp, lhs, expr)     \
  auto tmp = (expr);                             \
  if (!tmp.ok()) return std::move(tmp).status(); \
  lhs = std::move(tmp).value()
