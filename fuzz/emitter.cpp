// Every bound kernel lowers and becomes PyTorch source and a DOT graph: the same text for the same kernel, each time.
#include "canvas/emit/dot.h"
#include "canvas/emit/torch.h"
#include "canvas/lower/lower.h"
#include "canvas/lower/simplify.h"
#include "canvas/solve/binding.h"
#include "canvas/text/parser.h"
#include "canvas/text/printer.h"
#include "inputs.h"

namespace {

using namespace canvas;

void check_program(const CoreProgram& program, const std::string& text) {
  for (size_t i = 0; i < program.ops.size(); ++i) {
    for (int input : program.ops[i].inputs)
      fuzz::law(input >= 0 && static_cast<size_t>(input) < i, "core forms stand in topological order", text);
  }
}

// The values under the numbers that another kernel's variables of the same names have.
Values renumbered(const Values& values, const Variables& from, const Variables& to) {
  Values moved = values;
  for (int v = kFirstDynamic; v < from.count(); ++v)
    moved[static_cast<size_t>(to.find(from.name(v)))] = values[static_cast<size_t>(v)];
  return moved;
}

void check_source(const Kernel& kernel, const Values& values, const std::string& text) {
  const TorchSource source = emit_torch(kernel, values);
  const Kernel again = parse(text);
  const Values same = renumbered(values, kernel.variables(), again.variables());
  fuzz::law(emit_torch(again, same).text == source.text, "a text emits what its kernel does", text);
  fuzz::law(source.text.rfind("import torch\n", 0) == 0 && source.text.find("\nModule = ") != std::string::npos,
            "emitted source ends in its module", text);
  for (const ParameterShape& parameter : source.parameters) {
    fuzz::law(volume(parameter.logical) == volume(parameter.stored) && parameter.stored.size() <= 4,
              "a stored parameter holds the same elements in at most 4 dimensions", text);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  const auto kernel = fuzz::kernel_of(input);
  if (!kernel) return 0;
  const std::string text = print(*kernel);
  fuzz::law(emit_dot(*kernel) == emit_dot(parse(text)), "a text draws what its kernel does", text);
  const CoreProgram program = lower(*kernel);
  check_program(program, text);
  check_program(simplify(program), text);
  const bool small = input.bytes.ConsumeIntegralInRange(0, 3) > 0;
  const size_t dimensions = kernel->signature().from.size() - 1;
  const Layer layer = small ? fuzz::small_layer(input.bytes, dimensions) : fuzz::wild_layer(input.bytes);
  try {
    if (const auto binding = bind(*kernel, {layer}, {})) check_source(*kernel, binding->layers[0].values, text);
  } catch (const ArgumentError&) {
  }
  return 0;
}
