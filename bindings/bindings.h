// What the binding files share: one registration function a layer, called by module.cpp.
#pragma once

#include <nanobind/nanobind.h>

namespace canvas::python {

void bind_kernel(nanobind::module_& module);
void bind_native(nanobind::module_& module);
void bind_network(nanobind::module_& module);
void bind_search(nanobind::module_& module);
void bind_sizes(nanobind::module_& module);

}  // namespace canvas::python
