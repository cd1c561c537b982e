// Test bench of a generated network: words of a file in, words of a file out, with seeded stalls on both ends.
//
//   bench INPUT OUTPUT IMAGES WORDS_IN BYTES_IN WORDS_OUT BYTES_OUT SEED STALL_IN STALL_OUT LIMIT
//       [+checksum=1] [+words=PLACE] [+waveform=FILE +from=CYCLE +until=CYCLE] [+host=FILE]
//
// STALL_IN and STALL_OUT are shares of cycles, in thousandths, in which the host offers no new word or takes none.
// Prints "finished CYCLE" an image, counted from the cycle in which the first word was taken; "cycles N"; what the
// FIFOs say of themselves. The host does what its file says, a line at a time while images pass: "w ADDRESS VALUE",
// "r ADDRESS", whose value is printed as "read ADDRESS VALUE", "images N", which waits until so many came out; all
// numbers decimal. A waveform, where the program is built for one, is of the cycles from and until, with which
// the run ends. Exit status 3: nothing moved for LIMIT cycles.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "Vdesign.h"
#include "verilated.h"
#if defined(VM_TRACE_FST)
#include "verilated_fst_c.h"
using Tracer = VerilatedFstC;
#elif defined(VM_TRACE_SAIF)
#include "verilated_saif_c.h"
using Tracer = VerilatedSaifC;
#elif defined(VM_TRACE_VCD)
#include "verilated_vcd_c.h"
using Tracer = VerilatedVcdC;
#endif

namespace {

struct Random {
  uint64_t state;
  bool stalls(unsigned thousandths) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return thousandths != 0 && (state >> 33) % 1000 < thousandths;
  }
};

// The clock falls together with what the host drives, so that a cycle takes two evaluations.
void settle(Vdesign& design) {
  design.ap_clk = 0;
  design.eval();
}

void clock(Vdesign& design) {
  design.ap_clk = 1;
  design.eval();
}

// What stands behind "+name=" among the arguments, or none.
const char* option(int count, char** arguments, const char* name) {
  for (int i = 12; i < count; i++)
    if (std::strncmp(arguments[i], name, std::strlen(name)) == 0) return arguments[i] + std::strlen(name);
  return nullptr;
}

std::vector<uint8_t> contents(const char* path, size_t bytes) {
  std::vector<uint8_t> data(bytes);
  FILE* file = std::fopen(path, "rb");
  if (file == nullptr || std::fread(data.data(), 1, bytes, file) != bytes) {
    std::fprintf(stderr, "cannot read %zu bytes of %s\n", bytes, path);
    std::exit(2);
  }
  std::fclose(file);
  return data;
}

#ifdef BNNFLOW_CONTROL
// AXI-Lite transactions of a file, one after the other.
class Host {
 public:
  explicit Host(const char* path) : file_(path == nullptr ? nullptr : std::fopen(path, "r")) {
    if (path != nullptr && file_ == nullptr) std::exit(2);
    next();
  }
  bool done() const { return kind_ == 0; }
  // What the design sees in this cycle.
  void drive(Vdesign& design, uint64_t images) {
    if (kind_ == 'i' && images >= address_) next();
    design.s_axi_control_awvalid = design.s_axi_control_wvalid = kind_ == 'w' && !sent_;
    design.s_axi_control_arvalid = kind_ == 'r' && !sent_;
    design.s_axi_control_awaddr = design.s_axi_control_araddr = static_cast<uint16_t>(address_);
    design.s_axi_control_wdata = static_cast<uint32_t>(value_);
    design.s_axi_control_wstrb = 15;
    design.s_axi_control_bready = design.s_axi_control_rready = 1;
  }
  // What the design says in this cycle, before the clock; true if anything moved.
  bool moved(Vdesign& design) {
    if (kind_ == 0 || kind_ == 'i') return false;
    const bool writes = kind_ == 'w';
    if (!sent_ && (writes ? design.s_axi_control_awready && design.s_axi_control_wready : design.s_axi_control_arready)) {
      sent_ = true;
      return true;
    }
    if (!(writes ? design.s_axi_control_bvalid : design.s_axi_control_rvalid)) return false;
    if (!writes)
      std::printf("read %llu %llu\n", static_cast<unsigned long long>(address_),
                  static_cast<unsigned long long>(design.s_axi_control_rdata));
    next();
    return true;
  }

 private:
  void next() {
    char word[16];
    unsigned long long address = 0, value = 0;
    kind_ = 0;
    sent_ = false;
    if (file_ == nullptr || std::fscanf(file_, "%15s %llu", word, &address) != 2) return;
    if (word[0] == 'w' && std::fscanf(file_, "%llu", &value) != 1) return;
    kind_ = word[0];
    address_ = address;
    value_ = value;
  }

  FILE* file_;
  char kind_ = 0;
  bool sent_ = false;
  uint64_t address_ = 0, value_ = 0;
};
#endif

}  // namespace

int main(int count, char** arguments) {
  if (count < 12) return 2;
  auto number = [&](int place) { return std::strtoull(arguments[place], nullptr, 10); };
  const uint64_t images = number(3), words_in = number(4), bytes_in = number(5);
  const uint64_t words_out = number(6), bytes_out = number(7), limit = number(11);
  const unsigned stall_in = number(9), stall_out = number(10);
  Random input{2 * number(8) + 0x9E3779B97F4A7C15ull}, output{2 * number(8) + 0xD1B54A32D192ED03ull};

  VerilatedContext context;
  context.commandArgs(count, arguments);
  context.randReset(2);
  context.randSeed(static_cast<int>(number(8)) + 1);
#if VM_TRACE
  context.traceEverOn(true);
#endif
  Vdesign design{&context};
  const std::vector<uint8_t> given = contents(arguments[1], images * words_in * bytes_in);
  std::vector<uint8_t> found(images * words_out * bytes_out);

  design.ap_clk = 0;
  design.ap_rst_n = 0;
  design.s_axis_0_tvalid = 0;
  design.m_axis_0_tready = 0;
  // Registers are random until the reset: what is asserted holds behind it.
  context.assertOn(false);
  for (int i = 0; i < 6; i++) {
    design.ap_rst_n = i >= 4;
    settle(design);
    clock(design);
  }
  context.assertOn(true);
#ifdef BNNFLOW_CONTROL
  Host host(option(count, arguments, "+host="));
#endif
  uint64_t sent = 0, taken = 0, cycle = 0, quiet = 0;
  const uint64_t all_in = images * words_in, all_out = images * words_out;
  bool offered = false, wrong_last = false;
#if VM_TRACE
  auto bound = [&](const char* name) { return std::strtoull(option(count, arguments, name), nullptr, 10); };
  const uint64_t from = bound("+from="), until = bound("+until=");
  Tracer tracer;
  design.trace(&tracer, 99);
  tracer.open(option(count, arguments, "+waveform="));
#endif
  auto waits = [&] {
#ifdef BNNFLOW_CONTROL
    return taken < all_out || !host.done();
#else
    return taken < all_out;
#endif
  };
  while (waits() && quiet < limit) {
#if VM_TRACE
    if (cycle > until) {
      tracer.close();
      return 0;
    }
#endif
    if (!offered && sent < all_in && !input.stalls(stall_in)) {
      offered = true;
      std::memcpy(&design.s_axis_0_tdata, &given[sent * bytes_in], bytes_in);
    }
    design.s_axis_0_tvalid = offered;
    design.m_axis_0_tready = !output.stalls(stall_out);
#ifdef BNNFLOW_CONTROL
    host.drive(design, taken / words_out);
#endif
    settle(design);
    const bool in = offered && design.s_axis_0_tready;
    const bool out = design.m_axis_0_tvalid && design.m_axis_0_tready;
    if (out) {
      std::memcpy(&found[taken * bytes_out], &design.m_axis_0_tdata, bytes_out);
      const bool last = (taken + 1) % words_out == 0;
      wrong_last |= last != static_cast<bool>(design.m_axis_0_tlast);
      if (last) std::printf("finished %llu\n", static_cast<unsigned long long>(cycle));
      taken++;
    }
    if (in) {
      sent++;
      offered = false;
    }
    quiet = in || out ? 0 : quiet + 1;
#ifdef BNNFLOW_CONTROL
    if (host.moved(design)) quiet = 0;
#endif
#if VM_TRACE
    if (cycle >= from) tracer.dump(2 * cycle);
#endif
    clock(design);
#if VM_TRACE
    if (cycle >= from) tracer.dump(2 * cycle + 1);
#endif
    if (sent != 0) context.time(++cycle);
  }
#if VM_TRACE
  tracer.close();
#endif
  // No word may come that no image asked for.
  design.s_axis_0_tvalid = 0;
  design.m_axis_0_tready = 1;
  bool surplus = false;
  for (int i = 0; taken == all_out && i < 64; i++) {
    settle(design);
    surplus |= design.m_axis_0_tvalid;
    clock(design);
  }
  design.final();
  std::printf("cycles %llu\n", static_cast<unsigned long long>(cycle));
  std::printf("taken %llu of %llu, last %s, surplus %d\n", static_cast<unsigned long long>(taken),
              static_cast<unsigned long long>(all_out), wrong_last ? "wrong" : "right", surplus);
  FILE* file = std::fopen(arguments[2], "wb");
  if (file == nullptr || std::fwrite(found.data(), 1, found.size(), file) != found.size()) return 2;
  std::fclose(file);
  return taken < all_out ? 3 : 0;
}
