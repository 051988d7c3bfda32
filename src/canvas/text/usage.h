// What a primitive's call looks like, from its grammar: for messages, and for the reference of the language.
#pragma once

#include <string>

#include "canvas/ir/primitive.h"

namespace canvas {

// "fc(x, [axes] -> [new axes]; optionally per: [axes])".
std::string usage(const Primitive& primitive);

// Whether a list of axes stands in the call.
bool has_list(const Primitive& primitive);

// Whether the call's items are whole numbers (offsets, positions) rather than sizes.
bool has_numbers(const Primitive& primitive, const Attributes& attributes);

}  // namespace canvas
