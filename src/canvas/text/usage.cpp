#include "canvas/text/usage.h"

namespace canvas {

std::string usage(const Primitive& primitive) {
  std::string text = primitive.name;
  text += primitive.widest() > 2 ? "(a, b, ..." : primitive.arity == 2 ? "(a, b" : "(x";
  if (primitive.takes(kModes)) {
    text += ", ";
    for (const char* mode : primitive.modes) text += (mode == primitive.modes[0] ? "" : "|") + std::string(mode);
    text += ": [axes]";
  } else if (has_list(primitive)) {
    text += primitive.takes(kArrow) ? ", [axes] -> [new axes]" : primitive.takes(kNew) ? ", [new axis]" : ", [axes]";
  }
  if (primitive.takes(kItems)) {
    text += primitive.takes(kMade)      ? ", AXIS: NAME = SIZE"
            : primitive.takes(kOffsets) ? ", AXIS: OFFSET"
            : primitive.takes(kIndices) ? ", AXIS: POSITION"
                                        : ", AXIS: SIZE";
  }
  if (primitive.takes(kPer)) text += std::string("; optionally ") + primitive.per_key + ": [axes]";
  if (primitive.takes(kDilation)) text += "; optionally dilation: NUMBER";
  return text + ")";
}

bool has_list(const Primitive& primitive) {
  return primitive.takes(kFrom) || primitive.takes(kArrow) || primitive.takes(kNew);
}

bool has_numbers(const Primitive& primitive, const Attributes& attributes) {
  return primitive.takes(kIndices) || (primitive.takes(kOffsets) && attributes.per.empty());
}

}  // namespace canvas
