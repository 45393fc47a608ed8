// SPDX-License-Identifier: Apache-2.0
#include "npu/detect.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>

#include "base/env.h"
#include "npu/amdxdna.h"

namespace tandem::npu {
namespace {

namespace fs = std::filesystem;
using State = Finding::State;

using Version = std::array<uint32_t, 4>;

// Device and revision of AMD's PCI functions, from the driver's table (amdxdna_pci_drv.c); the
// firmware is the oldest that linux-firmware paired with a driver in the kernel (its WHENCE).
struct Product {
  uint16_t device;
  uint8_t revision;
  std::string_view name, generation;
  std::string_view firmware_folder;
  Version oldest_firmware;
};
constexpr uint16_t kAmdVendor = 0x1022;
constexpr Product kProducts[] = {
    {0x1502, 0x00, "Phoenix", "npu1", "1502_00", {1, 5, 2, 380}},
    {0x17f0, 0x10, "Strix", "npu2", "17f0_10", {1, 0, 7, 123}},
    {0x17f0, 0x11, "Strix Halo", "npu2", "17f0_11", {1, 0, 7, 231}},
    {0x17f0, 0x20, "Krackan", "npu2", "17f0_10", {1, 0, 7, 123}},
};

constexpr Version kFirstKernel = {6, 14, 0, 0};              // the first with the driver
constexpr uint64_t kLockedBytesWanted = uint64_t{64} << 20;  // the driver's heap, to begin with
constexpr int kCapabilityIpcLock = 14;
constexpr std::string_view kPowerModes[] = {"default", "low", "medium", "high", "turbo"};

std::optional<std::string> read_text(const fs::path& path) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  std::ostringstream text;
  text << file.rdbuf();
  std::string value = text.str();
  while (!value.empty() && (value.back() == '\n' || value.back() == ' ')) value.pop_back();
  return value;
}

template <typename T>
std::optional<T> parse(std::string_view text, int base = 10) {
  if (base == 16 && text.substr(0, 2) == "0x") text.remove_prefix(2);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{} || end == text.data()) return std::nullopt;
  return value;
}

std::optional<uint32_t> read_hex(const fs::path& path) {
  const std::optional<std::string> text = read_text(path);
  return text ? parse<uint32_t>(*text, 16) : std::nullopt;
}

// "6.14.0-29-generic" and "1.5.5.391": leading numbers between dots, the rest zero.
Version parse_version(std::string_view text) {
  Version version{};
  for (uint32_t& part : version) {
    part = parse<uint32_t>(text).value_or(0);
    const size_t dot = text.find('.');
    if (dot == std::string_view::npos) break;
    text.remove_prefix(dot + 1);
  }
  return version;
}

std::string to_text(const Version& version) {
  return fmt::format("{}.{}.{}.{}", version[0], version[1], version[2], version[3]);
}

// The words after "Name:" in a file of /proc.
std::vector<std::string> proc_words(const fs::path& path, std::string_view name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, name.size(), name) != 0) continue;
    std::istringstream rest(line.substr(name.size()));
    std::vector<std::string> words;
    for (std::string word; rest >> word;)
      if (word != ":") words.push_back(word);
    return words;
  }
  return {};
}

// Looks at one thing after another; each function adds its findings.
class Detector {
 public:
  Detector(const std::string& root, DriverCalls* calls) : root_(root), calls_(calls) {}

  Detection run() {
    find_pci_device();
    if (!result_.present) return result_;
    check_iommu();
    check_firmware_file();
    check_driver();
    check_node();
    check_locked_memory();
    result_.usable = std::none_of(result_.findings.begin(), result_.findings.end(),
                                  [](const Finding& f) { return f.state == State::kMissing; });
    ask_driver();
    return result_;
  }

 private:
  void ok(std::string subject, std::string value) {
    result_.findings.push_back({std::move(subject), State::kOk, std::move(value), {}});
  }
  void missing(std::string subject, std::string value, std::string fix) {
    result_.findings.push_back(
        {std::move(subject), State::kMissing, std::move(value), std::move(fix)});
  }
  void unknown(std::string subject, std::string value) {
    result_.findings.push_back({std::move(subject), State::kUnknown, std::move(value), {}});
  }

  void find_pci_device();
  void check_iommu();
  void check_firmware_file();
  void check_driver();
  void check_firmware_version();
  void check_node();
  void check_permission(const std::string& path, const struct stat& status);
  void check_locked_memory();
  void ask_driver();
  std::string product_name() const;

  fs::path root_;
  DriverCalls* calls_;
  const Product* product_ = nullptr;
  fs::path device_;  // its folder in sysfs
  Detection result_;
};

void Detector::find_pci_device() {
  std::error_code error;
  std::vector<fs::path> devices;
  for (const auto& entry : fs::directory_iterator(root_ / "sys/bus/pci/devices", error))
    devices.push_back(entry.path());
  std::sort(devices.begin(), devices.end());
  for (const fs::path& path : devices) {
    if (read_hex(path / "vendor") != uint32_t{kAmdVendor}) continue;
    const std::optional<uint32_t> device = read_hex(path / "device");
    const std::optional<uint32_t> revision = read_hex(path / "revision");
    for (const Product& product : kProducts) {
      if (device != uint32_t{product.device} || revision != uint32_t{product.revision}) continue;
      product_ = &product;
      device_ = path;
      result_.present = true;
      result_.product = product_name();
      result_.generation = product.generation;
      result_.pci_address = path.filename();
      result_.pci_device = product.device;
      result_.pci_revision = product.revision;
      ok("PCI device",
         fmt::format("{} [{:04x}:{:04x} rev {:02x}] at {}, array {}", result_.product, kAmdVendor,
                     product.device, product.revision, result_.pci_address, product.generation));
      return;
    }
  }
  missing("PCI device", "no AMD NPU on the PCI bus",
          "needs a Ryzen AI processor; on one, enable the NPU (IPU) in the firmware setup");
}

// Phoenix and Hawk Point share a PCI id; the CPU's family and model tell them apart (family 25,
// model 0x75 and 0x7c: Hawk Point).
std::string Detector::product_name() const {
  if (product_->device != 0x1502) return std::string(product_->name);
  const auto model = proc_words(root_ / "proc/cpuinfo", "model\t");
  if (model.empty()) return "Phoenix or Hawk Point";
  const uint32_t number = parse<uint32_t>(model.back()).value_or(0);
  return number == 0x75 || number == 0x7c ? "Hawk Point" : "Phoenix";
}

void Detector::check_iommu() {
  std::error_code error;
  if (fs::exists(device_ / "iommu_group", error)) {
    ok("IOMMU", "on");
  } else {
    missing("IOMMU", "off for the NPU, which shares the process's addresses through it",
            "enable the IOMMU in the firmware setup and boot without amd_iommu=off");
  }
}

void Detector::check_firmware_file() {
  const fs::path folder = root_ / "lib/firmware/amdnpu" / product_->firmware_folder;
  std::error_code error;
  for (const char* name : {"npu.sbin", "npu.sbin.zst", "npu.sbin.xz"}) {
    if (!fs::exists(folder / name, error)) continue;
    ok("firmware file", fmt::format("amdnpu/{}/{}", product_->firmware_folder, name));
    return;
  }
  missing("firmware file",
          fmt::format("no /lib/firmware/amdnpu/{}/npu.sbin", product_->firmware_folder),
          "install the distribution's linux-firmware package (Debian: firmware-misc-nonfree) and "
          "reboot");
}

void Detector::check_driver() {
  std::error_code error;
  const std::string release =
      read_text(root_ / "proc/sys/kernel/osrelease").value_or("of unknown version");
  const fs::path driver = fs::read_symlink(device_ / "driver", error);
  const bool loaded = fs::exists(root_ / "sys/module/amdxdna", error);
  if (driver.filename() == "amdxdna") {
    const auto version = read_text(root_ / "sys/module/amdxdna/version");
    ok("driver", version ? fmt::format("amdxdna {} on Linux {}", *version, release)
                         : fmt::format("amdxdna of Linux {}", release));
    check_firmware_version();
  } else if (loaded) {
    missing("driver", "amdxdna is loaded but did not take the device (firmware too old, or none)",
            "update linux-firmware, reboot, and read `dmesg | grep amdxdna`");
  } else if (parse_version(release) < kFirstKernel) {
    missing("driver", fmt::format("Linux {} has no amdxdna driver", release),
            "install Linux 6.14 or newer");
  } else {
    missing("driver", "amdxdna is not loaded",
            "run `sudo modprobe amdxdna`; if there is no such module, install the kernel's extra "
            "modules");
  }
}

void Detector::check_firmware_version() {
  const std::optional<std::string> text = read_text(device_ / "fw_version");
  if (!text || text->empty()) {
    unknown("firmware version", "the driver does not say");
    return;
  }
  result_.firmware = *text;
  if (parse_version(*text) < product_->oldest_firmware) {
    missing("firmware version",
            fmt::format("{} is older than {}", *text, to_text(product_->oldest_firmware)),
            "update linux-firmware and reboot");
  } else {
    ok("firmware version", *text);
  }
}

void Detector::check_node() {
  std::error_code error;
  std::string name;
  for (const auto& entry : fs::directory_iterator(device_ / "accel", error))
    if (const std::string file = entry.path().filename(); file.compare(0, 5, "accel") == 0)
      name = file;
  if (name.empty()) {
    missing("device node", "the driver made none", "fix the driver first; see above");
    return;
  }
  result_.node = "/dev/accel/" + name;
  const std::string path = root_ / "dev/accel" / name;
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) {
    missing("device node", fmt::format("{} does not exist", result_.node),
            "check that udev runs; in a container, pass the node in");
    return;
  }
  ok("device node", result_.node);
  check_permission(path, status);
}

// As the kernel decides it, from the process's ids in /proc/self/status.
void Detector::check_permission(const std::string& path, const struct stat& status) {
  const auto uids = proc_words(root_ / "proc/self/status", "Uid:");
  auto groups = proc_words(root_ / "proc/self/status", "Groups:");
  const auto gids = proc_words(root_ / "proc/self/status", "Gid:");
  if (uids.size() < 2 || gids.size() < 2) {
    unknown("permission", "cannot read /proc/self/status");
    return;
  }
  groups.push_back(gids[1]);
  const bool in_group =
      std::find(groups.begin(), groups.end(), std::to_string(status.st_gid)) != groups.end();
  const bool owner = uids[1] == std::to_string(status.st_uid);
  const mode_t needed = owner      ? S_IRUSR | S_IWUSR
                        : in_group ? S_IRGRP | S_IWGRP
                                   : S_IROTH | S_IWOTH;
  if (uids[1] == "0" || (status.st_mode & needed) == needed) {
    ok("permission", fmt::format("read and write by {}", uids[1] == "0" ? "root"
                                                         : owner        ? "owner"
                                                         : in_group     ? "group"
                                                                        : "everyone"));
  } else {
    missing("permission",
            fmt::format("{} may not be opened: it belongs to group {} and this process is not in "
                        "it",
                        path, status.st_gid),
            "run `sudo usermod -aG render $USER` and log in again");
  }
}

// Buffers over user pages and locked mappings count against RLIMIT_MEMLOCK.
void Detector::check_locked_memory() {
  const auto words = proc_words(root_ / "proc/self/limits", "Max locked memory");
  const auto capabilities = proc_words(root_ / "proc/self/status", "CapEff:");
  if (!capabilities.empty() &&
      (parse<uint64_t>(capabilities[0], 16).value_or(0) >> kCapabilityIpcLock & 1) != 0) {
    ok("locked memory", "unlimited (CAP_IPC_LOCK)");
  } else if (words.empty()) {
    unknown("locked memory", "cannot read /proc/self/limits");
  } else if (words[0] == "unlimited") {
    ok("locked memory", "unlimited");
  } else if (const uint64_t limit = parse<uint64_t>(words[0]).value_or(0);
             limit >= kLockedBytesWanted) {
    ok("locked memory", fmt::format("{} MiB, which the weights on the NPU must fit", limit >> 20));
  } else {
    missing("locked memory",
            fmt::format("limited to {} MiB; the driver's heap alone takes {} MiB and the weights "
                        "come on top",
                        limit >> 20, kLockedBytesWanted >> 20),
            "add `* - memlock unlimited` to /etc/security/limits.d/npu.conf and log in again");
  }
}

void Detector::ask_driver() {
  if (!result_.usable || calls_ == nullptr) {
    unknown("power mode", "the driver was not asked");
    return;
  }
  const int fd = calls_->open(result_.node.c_str());
  if (fd < 0) {
    result_.usable = false;
    missing("opening", fmt::format("{} cannot be opened (error {})", result_.node, -fd),
            "read `dmesg | grep amdxdna`");
    return;
  }
  amdxdna::PowerMode mode;
  amdxdna::Clocks clocks;
  const auto ask = [&](amdxdna::InfoParam param, void* buffer, size_t size) {
    amdxdna::GetInfo info{static_cast<uint32_t>(param), static_cast<uint32_t>(size),
                          reinterpret_cast<uint64_t>(buffer)};
    return calls_->ioctl(fd, amdxdna::kIoctlGetInfo, &info) == 0;
  };
  const bool have_mode = ask(amdxdna::InfoParam::kPowerMode, &mode, sizeof mode);
  const bool have_clocks = ask(amdxdna::InfoParam::kClocks, &clocks, sizeof clocks);
  calls_->close(fd);
  if (have_clocks) result_.array_mhz = clocks.array.mhz;
  if (!have_mode || mode.mode >= std::size(kPowerModes)) {
    unknown("power mode", "the driver does not say");
    return;
  }
  ok("power mode",
     have_clocks ? fmt::format("{}, array at {} MHz", kPowerModes[mode.mode], clocks.array.mhz)
                 : std::string(kPowerModes[mode.mode]));
}

}  // namespace

Detection detect_npu(const std::string& root, DriverCalls* calls) {
  return Detector(root, calls).run();
}

std::string detection_root() { return env("TANDEM_NPU_ROOT").value_or("/"); }

}  // namespace tandem::npu
