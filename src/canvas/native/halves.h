// What is kept in 16 bits where the processor multiplies pairs of bf16. Between plan and blocks.
#pragma once

#include "canvas/native/plan.h"

namespace canvas::native {

// What only contractions with weights read, along neighbours two of which make a pair, is stored as bf16; of what others read too they are
// given such a copy, made once.
void keep_halves(Plan& plan);

}  // namespace canvas::native
