// Copies of what lies apart where a nest wants neighbours: factors of contractions, and what maps load. Between plan and blocks.
#pragma once

#include "canvas/native/plan.h"

namespace canvas::native {

// Where each element is used often enough to pay for the copy.
void add_transposes(Plan& plan);

}  // namespace canvas::native
