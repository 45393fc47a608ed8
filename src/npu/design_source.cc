// SPDX-License-Identifier: Apache-2.0
#include "npu/design_source.h"

#include <fmt/format.h>

#include <set>

#include "backend/phase_name.h"
#include "npu/aie_text/design.h"

namespace tandem::npu {

DesignIdentity identity_of(const DesignRequest& request) {
  DesignIdentity identity;
  identity.op = to_text(request.op);
  identity.m = request.rows;
  identity.k = request.inputs;
  identity.n = request.outputs;
  const Geometry& geometry = geometry_of(request.generation);
  identity.generation = geometry.name;
  identity.columns = request.columns == 0 ? geometry.columns : request.columns;
  if (request.op == DesignOp::kGemm) {
    identity.phase = "any";
    identity.tile = fmt::format("{}x{}x{}", request.tile.m, request.tile.k, request.tile.n);
    identity.dtype = fmt::format("{}-{}", to_text(request.in), to_text(request.out));
    return identity;
  }
  const Int4Layout layout = projection_layout(request).weights;
  identity.phase = phase_name(request.phase);
  identity.tile = fmt::format("{}x{}", layout.tile_rows, layout.tile_depth);
  identity.dtype = request.scales == ScaleMode::kInteger ? "int4" : "int4-f32scales";
  return identity;
}

DesignSource source_of(const DesignRequest& request, const EmittedDesign& emitted,
                       const std::filesystem::path& kernel_folder) {
  DesignSource source{identity_of(request), emitted.text, {}};
  const Design design = parse_design(emitted.text);
  std::set<std::string> objects;
  for (const DeviceDesign& device : design.devices)
    for (const auto& [symbol, kernel] : device.kernels) objects.insert(kernel.link_with);
  for (const std::string& object : objects) {
    std::filesystem::path file = kernel_folder / object;
    source.kernels.push_back({object, file.replace_extension(".cc"), {}});
  }
  return source;
}

}  // namespace tandem::npu
