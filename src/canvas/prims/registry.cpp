#include "canvas/prims/registry.h"

namespace canvas {

const std::vector<const Primitive*>& primitives() {
  static const std::vector<const Primitive*> all = {
#define CANVAS_PRIMITIVE(name) &name##_primitive(),
#include "canvas/prims/prims.def"
#undef CANVAS_PRIMITIVE
  };
  return all;
}

const Primitive* find_primitive(const std::string& name) {
  for (const Primitive* primitive : primitives()) {
    if (name == primitive->name) return primitive;
  }
  return nullptr;
}

}  // namespace canvas
