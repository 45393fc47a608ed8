// Detection on small copies of /sys, /proc and /dev, one per machine.
// SPDX-License-Identifier: Apache-2.0
#include "npu/detect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/temporary_folder.h"
#include "npu/fake_driver.h"

namespace tandem::npu {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using State = Finding::State;

// A machine: defaults are a Phoenix laptop on which everything is right.
struct Machine {
  std::string device = "0x1502", revision = "0x00";
  std::string cpu_model = "116";  // Phoenix
  std::string kernel = "6.14.0-29-generic";
  std::string firmware_folder = "1502_00", firmware = "1.5.5.391";
  bool driver = true, module = true, iommu = true, node = true;
  mode_t node_mode = 0660;
  std::string uid = "54321", groups = "";  // the node's own group is added by `in_group`
  bool in_group = true;
  std::string locked = "unlimited", capabilities = "0000000000000000";
};

class DetectTest : public ::testing::Test {
 protected:
  void write(const fs::path& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text << "\n";
  }

  void build(const Machine& machine) {
    const fs::path pci = "sys/bus/pci/devices/0000:c4:00.1";
    write("sys/bus/pci/devices/0000:00:00.0/vendor", "0x1022");
    write("sys/bus/pci/devices/0000:00:00.0/device", "0x14e8");
    write("sys/bus/pci/devices/0000:00:00.0/revision", "0x00");
    write(pci / "vendor", "0x1022");
    write(pci / "device", machine.device);
    write(pci / "revision", machine.revision);
    if (machine.iommu) fs::create_directories(root_ / pci / "iommu_group");
    if (machine.module) fs::create_directories(root_ / "sys/module/amdxdna");
    if (machine.driver) {
      fs::create_symlink("../../../../bus/pci/drivers/amdxdna", root_ / pci / "driver");
      write(pci / "fw_version", machine.firmware);
      fs::create_directories(root_ / pci / "accel/accel0");
    }
    if (!machine.firmware_folder.empty())
      write(fs::path("lib/firmware/amdnpu") / machine.firmware_folder / "npu.sbin.zst", "");
    write("proc/cpuinfo", "processor\t: 0\ncpu family\t: 25\nmodel\t\t: " + machine.cpu_model);
    write("proc/sys/kernel/osrelease", machine.kernel);
    write("proc/self/limits",
          "Limit                     Soft Limit           Hard Limit           Units\n"
          "Max locked memory         " +
              machine.locked + "            unlimited    bytes");
    if (machine.node) {
      write("dev/accel/accel0", "");
      ASSERT_EQ(chmod((root_ / "dev/accel/accel0").c_str(), machine.node_mode), 0);
    }
    const std::string group = std::to_string(getgid());
    write("proc/self/status", "Name:\ttandem\nUid:\t" + machine.uid + "\t" + machine.uid +
                                  "\t0\t0\nGid:\t4242\t4242\t0\t0\nGroups:\t" + machine.groups +
                                  " " + (machine.in_group ? group : "4243") + " \nCapEff:\t" +
                                  machine.capabilities);
  }

  const Finding* find(const Detection& detection, const std::string& subject) {
    for (const Finding& finding : detection.findings)
      if (finding.subject == subject) return &finding;
    return nullptr;
  }

  // The detection of a machine on which exactly `subject` is missing, with a fix.
  void expect_only_missing(const Machine& machine, const std::string& subject,
                           const std::string& fix) {
    build(machine);
    const Detection detection = detect_npu(root_.path());
    EXPECT_FALSE(detection.usable);
    for (const Finding& finding : detection.findings) {
      if (finding.subject == subject) {
        EXPECT_EQ(finding.state, State::kMissing) << finding.value;
        EXPECT_THAT(finding.fix, HasSubstr(fix));
      } else {
        EXPECT_NE(finding.state, State::kMissing) << finding.subject << ": " << finding.value;
      }
    }
    EXPECT_NE(find(detection, subject), nullptr);
  }

  TemporaryFolder root_;
};

struct KnownProduct {
  const char *device, *revision, *cpu_model, *folder, *firmware;
  const char *product, *generation;
};
class DetectProductTest : public DetectTest, public ::testing::WithParamInterface<KnownProduct> {};

TEST_P(DetectProductTest, NamesProductAndGeneration) {
  Machine machine;
  machine.device = GetParam().device;
  machine.revision = GetParam().revision;
  machine.cpu_model = GetParam().cpu_model;
  machine.firmware_folder = GetParam().folder;
  machine.firmware = GetParam().firmware;
  build(machine);
  const Detection detection = detect_npu(root_.path());
  EXPECT_TRUE(detection.usable);
  EXPECT_EQ(detection.product, GetParam().product);
  EXPECT_EQ(detection.generation, GetParam().generation);
  EXPECT_EQ(detection.pci_address, "0000:c4:00.1");
  EXPECT_EQ(detection.node, "/dev/accel/accel0");
  EXPECT_EQ(detection.firmware, GetParam().firmware);
}

INSTANTIATE_TEST_SUITE_P(
    Products, DetectProductTest,
    ::testing::Values(
        KnownProduct{"0x1502", "0x00", "116", "1502_00", "1.5.5.391", "Phoenix", "npu1"},
        KnownProduct{"0x1502", "0x00", "117", "1502_00", "1.5.5.391", "Hawk Point", "npu1"},
        KnownProduct{"0x17f0", "0x10", "36", "17f0_10", "1.1.2.64", "Strix", "npu2"},
        KnownProduct{"0x17f0", "0x11", "112", "17f0_11", "1.1.2.65", "Strix Halo", "npu2"},
        KnownProduct{"0x17f0", "0x20", "96", "17f0_10", "1.1.2.64", "Krackan", "npu2"}),
    [](const auto& instance) {
      std::string name = instance.param.product;
      std::erase(name, ' ');
      return name;
    });

TEST_F(DetectTest, MachineWithoutAnNpuSaysSo) {
  Machine machine;
  machine.device = "0x1681";  // a GPU
  build(machine);
  const Detection detection = detect_npu(root_.path());
  EXPECT_FALSE(detection.present);
  EXPECT_FALSE(detection.usable);
  ASSERT_EQ(detection.findings.size(), 1u);
  EXPECT_EQ(detection.findings[0].subject, "PCI device");
  EXPECT_THAT(detection.findings[0].fix, HasSubstr("Ryzen AI"));
}

TEST_F(DetectTest, EmptyRootIsAMachineWithoutAnNpu) {
  EXPECT_FALSE(detect_npu(root_.path()).present);
}

TEST_F(DetectTest, OldKernelHasNoDriver) {
  Machine machine;
  machine.driver = machine.module = machine.node = false;
  machine.kernel = "6.1.0-26-amd64";
  build(machine);
  const Detection detection = detect_npu(root_.path());
  EXPECT_TRUE(detection.present);
  EXPECT_FALSE(detection.usable);
  ASSERT_NE(find(detection, "driver"), nullptr);
  EXPECT_THAT(find(detection, "driver")->fix, HasSubstr("Linux 6.14"));
  EXPECT_EQ(find(detection, "device node")->state, State::kMissing);
}

TEST_F(DetectTest, DriverNotLoaded) {
  Machine machine;
  machine.driver = machine.module = machine.node = false;
  build(machine);
  EXPECT_THAT(find(detect_npu(root_.path()), "driver")->fix, HasSubstr("modprobe amdxdna"));
}

TEST_F(DetectTest, DriverThatRefusedTheDevicePointsAtTheFirmware) {
  Machine machine;
  machine.driver = machine.node = false;
  build(machine);
  EXPECT_THAT(find(detect_npu(root_.path()), "driver")->fix, HasSubstr("linux-firmware"));
}

TEST_F(DetectTest, OldFirmware) {
  Machine machine;
  machine.firmware = "1.4.2.323";
  expect_only_missing(machine, "firmware version", "update linux-firmware");
}

TEST_F(DetectTest, NoFirmwareFile) {
  Machine machine;
  machine.firmware_folder = "";
  expect_only_missing(machine, "firmware file", "linux-firmware");
}

TEST_F(DetectTest, NotInTheNodesGroup) {
  Machine machine;
  machine.in_group = false;
  expect_only_missing(machine, "permission", "usermod -aG render");
}

TEST_F(DetectTest, GroupWithoutWritePermission) {
  Machine machine;
  machine.node_mode = 0640;
  expect_only_missing(machine, "permission", "usermod");
}

TEST_F(DetectTest, NodeMissing) {
  Machine machine;
  machine.node = false;
  expect_only_missing(machine, "device node", "udev");
}

TEST_F(DetectTest, IommuOff) {
  Machine machine;
  machine.iommu = false;
  expect_only_missing(machine, "IOMMU", "amd_iommu=off");
}

TEST_F(DetectTest, SmallMemlockLimit) {
  Machine machine;
  machine.locked = "8388608";
  expect_only_missing(machine, "locked memory", "memlock unlimited");
}

TEST_F(DetectTest, IpcLockCapabilityLiftsTheMemlockLimit) {
  Machine machine;
  machine.locked = "8388608";
  machine.capabilities = "0000000000004000";
  build(machine);
  EXPECT_TRUE(detect_npu(root_.path()).usable);
}

TEST_F(DetectTest, AsksTheDriverForPowerModeAndClock) {
  build({});
  FakeDriverOptions options;
  options.emulator.timing.clock_hz = 1.6e9;
  FakeDriver driver(options);
  const Detection detection = detect_npu(root_.path(), &driver);
  EXPECT_TRUE(detection.usable);
  EXPECT_EQ(detection.array_mhz, 1600u);
  EXPECT_EQ(find(detection, "power mode")->value, "default, array at 1600 MHz");
  EXPECT_EQ(driver.open_resources(), FakeDriver::Open{});
}

TEST_F(DetectTest, DriverThatCannotBeOpenedIsNotUsable) {
  build({});
  FakeDriver driver({});
  driver.fail_after(0, EBUSY);
  EXPECT_FALSE(detect_npu(root_.path(), &driver).usable);
}

TEST_F(DetectTest, GarbageInSysfsIsNotAnNpu) {
  Machine machine;
  machine.revision = "what";
  build(machine);
  EXPECT_FALSE(detect_npu(root_.path()).present);
}

}  // namespace
}  // namespace tandem::npu
