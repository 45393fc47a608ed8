// The full definition of Json, for files that build values or take them apart.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>

#include "base/json.h"
