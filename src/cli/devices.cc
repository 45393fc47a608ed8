// `tandem devices`: what can run a model here, and what is missing.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "backend/backends.h"
#include "base/json_value.h"
#include "cli/commands.h"
#include "cli/output.h"

namespace tandem {
namespace {

Json to_json(const DeviceListing& listing) {
  return {{"name", listing.name},         {"device", listing.device},
          {"usable", listing.usable},     {"emulated", listing.emulated},
          {"software", listing.software}, {"notes", listing.notes}};
}

void print_listing(const DeviceListing& listing) {
  std::string kind = listing.usable ? "" : " (not usable)";
  if (listing.emulated) kind += " (emulated)";
  if (listing.software) kind += " (software)";
  print(fmt::format("{:<12}{}{}\n", listing.name, listing.device, kind));
  for (const std::string& note : listing.notes) print(fmt::format("{:<12}  {}\n", "", note));
}

}  // namespace

void add_devices_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("devices", "List the devices that can run a model");
  auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "print a JSON array");
  command->callback([json] {
    const std::vector<DeviceListing> listings = list_devices();
    if (*json) {
      Json array = Json::array();
      for (const DeviceListing& listing : listings) array.push_back(to_json(listing));
      print_json(array);
      return;
    }
    for (const DeviceListing& listing : listings) print_listing(listing);
  });
}

}  // namespace tandem
